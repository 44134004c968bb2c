"""FLOPs of convolutions and whole networks against matrix products, architectures and published numbers."""

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.flops import Flops, count, measure


def macs(forward, train):
    return Flops(forward=2 * forward, train=2 * train)


def conv_as_products(x, weight, groups, transposed, **geometry):
    """A convolution as one matrix product per group, by unfold or fold: checked by value, torch counts."""
    kernel, outputs = weight.shape[-1], []
    for part, filters in zip(x.chunk(groups, 1), weight.chunk(groups, 0), strict=True):
        if transposed:
            stride, padding, dilation = (geometry[key] for key in ("stride", "padding", "dilation"))
            size = (x.shape[-1] - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            outputs.append(F.fold(filters.flatten(1).T @ part.flatten(2), (size, size), kernel, **geometry))
        else:
            span = x.shape[-1] + 2 * geometry["padding"] - geometry["dilation"] * (kernel - 1)
            size = (span - 1) // geometry["stride"] + 1
            columns = filters.flatten(1) @ F.unfold(part, kernel, **geometry)
            outputs.append(columns.unflatten(-1, (size, size)))
    return torch.cat(outputs, 1)


@st.composite
def convolutions(draw):
    kernel, dilation, groups = (draw(st.integers(1, 3)) for _ in range(3))
    padding = draw(st.integers(0, dilation * (kernel - 1) // 2))
    size = draw(st.integers(dilation * (kernel - 1) + 1, 9))
    cin, cout = (groups * draw(st.integers(1, 3)) for _ in range(2))
    transposed = draw(st.booleans())
    x = torch.randn(2, cin, size, size, dtype=torch.double, requires_grad=draw(st.booleans()))
    shape = (cin, cout // groups) if transposed else (cout, cin // groups)
    weight = torch.randn(*shape, kernel, kernel, dtype=torch.double, requires_grad=True)
    geometry = {"stride": draw(st.integers(1, 3)), "padding": padding, "dilation": dilation}
    return x, weight, groups, transposed, geometry


@settings(max_examples=60, deadline=None)
@given(convolutions())
def test_convolution_equals_its_matrix_products(case):
    x, weight, groups, transposed, geometry = case
    conv = F.conv_transpose2d if transposed else F.conv2d
    with FlopCounterMode(display=False) as products:
        expected = conv_as_products(*case[:4], **geometry)
        forward = products.get_total_flops()
        expected.sum().backward()
    with torch.no_grad():
        torch.testing.assert_close(conv(x, weight, groups=groups, **geometry), expected)
        assert measure(lambda: conv(x, weight, groups=groups, **geometry)) == forward
    total = measure(lambda: conv(x, weight, groups=groups, **geometry).sum().backward())
    assert total == products.get_total_flops()


@pytest.mark.parametrize("layer", [nn.Conv2d, nn.ConvTranspose2d])
@pytest.mark.parametrize(("cin", "cout", "groups"), [(8, 8, 8), (8, 16, 8), (8, 4, 2)])
def test_grouped_equals_its_groups_apart(layer, cin, cout, groups):
    grouped = count(layer(cin, cout, 3, groups=groups), (cin, 9, 9))
    one = count(layer(cin // groups, cout // groups, 3), (cin // groups, 9, 9))
    assert grouped == Flops(groups * one.forward, groups * one.train)


class SmallConv(nn.Sequential):
    def __init__(self):
        super().__init__(
            *(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12)),
            *(nn.ConvTranspose2d(12, 4, 2, stride=2, groups=2), nn.AdaptiveAvgPool2d(1)),
            *(nn.Flatten(), nn.Linear(4, 2)),
        )


def small_vit():
    return VisionTransformer(
        img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0, drop_path_rate=0.1
    )


@pytest.mark.parametrize("build", [SmallConv, small_vit])
@pytest.mark.parametrize("training", [False, True])
def test_what_the_cpu_executes_equals_meta(build, training):
    net, x = build().train(training), torch.randn(3, 3, 32, 32)
    flops = count(net, (3, 32, 32))
    with torch.inference_mode():
        assert measure(lambda: net(x)) == 3 * flops.forward
    assert measure(lambda: net(x).sum().backward()) == 3 * flops.train
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(lambda: net(x).sum().backward()) == 3 * flops.train


# GMAC of the backbone at 224, 128 and 96 px, derived layer by layer from the architectures, to 3 digits.
GMACS = {
    "mobilenetv2_100": ({}, (0.2995, 0.098, 0.055)),
    "resnet18": ({}, (1.814, 0.592, 0.333)),
    "resnet34": ({}, (3.663, 1.196, 0.673)),
    "resnet50": ({}, (4.087, 1.334, 0.751)),
    "vit_tiny_patch16_224": ({}, (1.254, 0.374, 0.208)),
    "vit_tiny_patch32_224": ({"patch_size": 32}, (0.306, 0.101, 0.059)),
    "vit_small_patch16_224": ({}, (4.599, 1.438, 0.809)),
    "vit_small_patch32_224": ({}, (1.143, 0.383, 0.224)),
    "vit_base_patch16_224": ({}, (17.56, 5.64, 3.19)),
    "vit_base_patch32_224": ({}, (4.41, 1.49, 0.87)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GMACS)
def test_published_networks(name):
    options, expected = GMACS[name]
    known = name.replace("tiny_patch32", "tiny_patch16")  # timm has no ViT-Ti/32
    for size, gmac in zip((224, 128, 96), expected, strict=True):
        sized = {**options, "img_size": size} if name.startswith("vit") else options
        with torch.device("meta"), torch.no_grad():
            net = timm.create_model(known, num_classes=0, **sized)
            pixels = torch.zeros(2, 3, size, size)
            assert measure(lambda: net(pixels)) / 4e9 == pytest.approx(gmac, rel=0.01)  # noqa: B023


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet34", "resnet50", "vit_b_16", "vit_b_32"])
def test_what_torchvision_publishes(name):
    # GMAC in the metadata of its weights, with classifier, to 3 decimals; its ViT runs nn.MultiheadAttention.
    gmac = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta["_ops"]
    with torch.device("meta"), torch.no_grad():
        net = torchvision.models.get_model(name).eval()
        assert measure(lambda: net(torch.zeros(2, 3, 224, 224))) / 4e9 == pytest.approx(gmac, abs=0.0006)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet18", "vit_small_patch16_224"])
def test_training_costs_three_forwards_less_the_first_layers_input_gradient(name):
    # First layer: 112x112 outputs, 3 inputs, 32 filters of 3x3 or 64 of 7x7; patches of 16x16 to 384.
    first = {"mobilenetv2_100": 112**2 * 27 * 32, "resnet18": 112**2 * 147 * 64}.get(name, 14**2 * 768 * 384)
    with torch.device("meta"):
        flops = count(timm.create_model(name, num_classes=0), (3, 224, 224))
    assert flops.train == 3 * flops.forward - 2 * first


@pytest.mark.slow
@pytest.mark.parametrize("patch", [16, 32])
def test_vit_formula(patch):
    # N = (H/p)² + 1 tokens, d = 192, 12 layers: patches (H/p)²·3p²·d, each layer N·12d² (qkv, projection,
    # MLP of 4d) and 2N²d (QKt, AV). Trained: the patch embedding has no input gradient.
    side = 224 // patch
    tokens, d = side**2 + 1, 192
    stem, layers = side**2 * 3 * patch**2 * d, 12 * (tokens * 12 * d**2 + 2 * tokens**2 * d)
    with torch.device("meta"):
        net = timm.create_model("vit_tiny_patch16_224", patch_size=patch, num_classes=0)
    assert count(net, (3, 224, 224)) == macs(stem + layers, 2 * stem + 3 * layers)
