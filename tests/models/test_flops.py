"""Expected values are derived by hand beside each test; M(...) is a number of MACs, and 1 MAC is 2 FLOPs."""

import copy

import pytest
import timm
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.flops import Flops, count, measure, on_meta


def meta(*shape, grad=False):
    return torch.zeros(*shape, device="meta", requires_grad=grad)


def macs(forward, train):
    return Flops(forward=2 * forward, train=2 * train)


# --- one layer. `train` has no input gradient (the input needs none): forward + weight gradient = 2 x forward;
# --- with a gradient to the input, 3 x forward.
LAYERS = {
    # 5 inputs x 7 outputs
    "linear": (nn.Linear(5, 7), (5,), 35),
    # the same for each of 3 tokens
    "linear, tokens": (nn.Linear(5, 7), (3, 5), 105),
    # 8x8 outputs (padding 1), each 6 channels x 4 inputs x 9 taps
    "conv": (nn.Conv2d(4, 6, 3, padding=1), (4, 8, 8), 64 * 6 * 4 * 9),
    # floor((9 - 3) / 2) + 1 = 4: 4x4 outputs
    "conv, strided": (nn.Conv2d(4, 6, 3, stride=2), (4, 9, 9), 16 * 6 * 4 * 9),
    # each output channel sees 4 / 2 inputs
    "conv, 2 groups": (nn.Conv2d(4, 6, 3, padding=1, groups=2), (4, 8, 8), 64 * 6 * 2 * 9),
    # each output channel sees 1 input
    "conv, depth-wise": (nn.Conv2d(32, 32, 3, padding=1, groups=32), (32, 8, 8), 64 * 32 * 9),
    # depth multiplier 2
    "conv, depth-wise x2": (nn.Conv2d(8, 16, 3, padding=1, groups=8), (8, 8, 8), 64 * 16 * 9),
    "conv 1d": (nn.Conv1d(4, 6, 3, padding=1), (4, 8), 8 * 6 * 4 * 3),
    # each of 5x5 inputs is spread over 2x2 taps of 6 channels, for 4 input channels
    "transposed": (nn.ConvTranspose2d(4, 6, 2, stride=2), (4, 5, 5), 25 * 4 * 6 * 4),
    # each input channel reaches 6 / 2 outputs
    "transposed, 2 groups": (nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2), (4, 5, 5), 25 * 4 * 3 * 4),
    "transposed, depth-wise": (nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8), (8, 5, 5), 25 * 8 * 4),
}


@pytest.mark.parametrize(("layer", "shape", "expected"), LAYERS.values(), ids=LAYERS.keys())
def test_layer(layer, shape, expected):
    assert count(layer, shape) == macs(expected, 2 * expected)
    assert count(layer, shape).macs == expected
    twin, x = on_meta(layer), meta(3, *shape, grad=True)
    assert measure(lambda: twin(x).sum().backward()) == 3 * 2 * 3 * expected


def test_vector_products():
    # (2·3, 5) @ (5,) is one mv, whose backward to the vector is another mv; dot of 5 and 5; addmv is (4, 5) @ (5,).
    vector = meta(5, grad=True)
    assert measure(lambda: (meta(2, 3, 5) @ vector).sum().backward()) == 2 * 30 + 2 * 30
    assert measure(lambda: meta(5) @ meta(5)) == 10
    assert measure(lambda: torch.addmv(meta(4), meta(4, 5), meta(5))) == 40


# --- attention. QKt: Nq·Nk·D, AV: Nq·Nk·Dv, for each head; each product has two gradients of the same size.
@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize(("d", "dv"), [(8, 8), (8, 16)])
@pytest.mark.parametrize("causal", [False, True])
def test_scaled_dot_product(device, d, dv, causal):
    q, k, v = (torch.zeros(2, 3, n, e, device=device, requires_grad=True) for n, e in [(5, d), (7, d), (7, dv)])
    forward = 2 * (2 * 3 * 5 * 7 * (d + dv))

    def attend():
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

    with torch.no_grad():
        assert measure(attend) == forward
    assert measure(lambda: attend().sum().backward()) == 3 * forward


@pytest.mark.parametrize(
    ("kernel", "rest"),
    [
        ("flash_attention", ()),
        ("flash_attention_for_cpu", ()),
        ("efficient_attention", (None, True)),
        ("cudnn_attention", (None, True)),
        ("fused_attention_overrideable", ()),
    ],
)
def test_every_fused_kernel_counts_alike(kernel, rest):
    # The CUDA kernels have shapes on meta, so their formulas are tested without a GPU.
    q, k, v = (meta(2, 3, n, 8, grad=True) for n in (5, 7, 7))
    operator = getattr(torch.ops.aten, f"_scaled_dot_product_{kernel}")
    assert measure(lambda: operator(q, k, v, *rest)[0].sum().backward()) == 3 * 2 * (2 * 3 * 5 * 7 * 16)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("backend", ["FLASH_ATTENTION", "EFFICIENT_ATTENTION", "MATH"])
def test_every_cuda_kernel_counts_alike(backend):
    q, k, v = (torch.zeros(2, 3, 8, 16, device="cuda", dtype=torch.half, requires_grad=True) for _ in range(3))
    with torch.nn.attention.sdpa_kernel(getattr(torch.nn.attention.SDPBackend, backend)):
        total = measure(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward())
    assert total == 3 * 2 * (2 * 3 * 8 * 8 * 32)


# N = 7 tokens, d = 12: qkv N·d·3d = 3024, both products 2·N²·d = 1176, projection N·d² = 1008.
QKV, PRODUCTS, PROJECTION = 3024, 1176, 1008
BLOCK = macs(QKV + PRODUCTS + PROJECTION, 2 * QKV + 3 * PRODUCTS + 3 * PROJECTION)


@pytest.mark.parametrize("fused", [False, True])
def test_timm_attention(fused):
    block = Attention(12, num_heads=3)
    block.fused_attn = fused
    assert count(block, (7, 12)) == BLOCK
    x = torch.zeros(2, 7, 12)
    assert measure(lambda: block(x).sum().backward()) == 2 * BLOCK.train


class SelfAttention(nn.Module):
    def __init__(self, need_weights):
        super().__init__()
        self.attention = nn.MultiheadAttention(12, 4, batch_first=True)  # the fast path needs an even number
        self.need_weights = need_weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.need_weights)[0]


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_multihead_attention(need_weights, training):
    module = SelfAttention(need_weights).train(training)
    assert count(module, (7, 12)) == BLOCK
    with torch.inference_mode():  # eval mode would take the fast path, one operator that torch counts as 0
        assert measure(lambda: module(torch.zeros(2, 7, 12))) == 2 * BLOCK.forward
    assert torch.backends.mha.get_fastpath_enabled()


# --- what is trained decides the backward.
def test_frozen_backbone_costs_its_forward_only():
    net = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 11), nn.Linear(11, 2))
    # M: 35, 77, 22. All trained: the first without input gradient, 2·35 + 3·77 + 3·22.
    assert count(net, (5,)) == macs(134, 2 * 35 + 3 * 77 + 3 * 22)
    net[0].requires_grad_(False)
    assert count(net, (5,)) == macs(134, 35 + 2 * 77 + 3 * 22)
    net[1].requires_grad_(False)
    assert count(net, (5,)) == macs(134, 35 + 77 + 2 * 22)
    # A frozen layer above a trained one passes the input gradient on: 2·35 + 2·77 + 2·22.
    for layer, trained in zip(net, (True, False, False), strict=True):
        layer.requires_grad_(trained)
    assert count(net, (5,)) == macs(134, 2 * 35 + 2 * 77 + 2 * 22)
    net.requires_grad_(False)
    assert count(net, (5,)) == macs(134, 134)


def test_tokens():
    tower = nn.Sequential(nn.Embedding(100, 8), nn.Linear(8, 4))
    # A look-up is free; 5 tokens · 8 · 4, and the embedding is trained, so the linear layer has both gradients.
    assert count(tower, (5,), dtypes=[torch.long]) == macs(160, 3 * 160)


def test_several_inputs_and_outputs():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(5, 6)

        def forward(self, x, y):
            return {"a": self.a(x), "rest": (self.b(y), x.shape)}

    assert count(Pair(), (3,), (5,)) == macs(12 + 30, 2 * (12 + 30))


def test_work_that_does_not_grow_with_the_batch_is_left_out():
    class Resampled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.resample = nn.Parameter(torch.zeros(7, 5)), nn.Parameter(torch.zeros(5, 9))

        def forward(self, x):
            return x @ (self.weight @ self.resample).T

    # For an example 7·9; the product of the weights, 7·5·9, is paid once a step, which `measure` sees.
    assert count(Resampled(), (9,)) == macs(63, 126)
    with torch.no_grad():
        assert measure(lambda: on_meta(Resampled())(meta(4, 9))) == 2 * (4 * 63 + 7 * 5 * 9)


def test_whole_step_with_teacher_and_pairwise_loss():
    student, batch = on_meta(nn.Linear(5, 8)), 16
    teacher = copy.deepcopy(student).requires_grad_(False)
    views = [meta(batch, 5), meta(batch, 5)]

    def step():
        with torch.no_grad():
            targets = teacher(views[0])
        (student(views[1]) @ targets.T).logsumexp(1).mean().backward()

    # Teacher B·5·8; student that and its weight gradient; BxB similarity B·B·8 and its gradient to the student.
    assert measure(step) == 2 * (3 * batch * 40 + 2 * batch * batch * 8)


# --- the caller's module stays as it was.
def test_module_and_random_state_are_untouched():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Flatten(), nn.Linear(144, 2))
    net[4].eval()
    net[0].requires_grad_(False)
    state, modes, rng = copy.deepcopy(net.state_dict()), [m.training for m in net.modules()], torch.get_rng_state()
    identities = [id(t) for t in (*net.parameters(), *net.buffers())]
    count(net, (3, 8, 8))
    assert torch.equal(rng, torch.get_rng_state())
    assert modes == [m.training for m in net.modules()]
    assert identities == [id(t) for t in (*net.parameters(), *net.buffers())]
    for name, value in net.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, state[name])
    assert all(p.grad is None for p in net.parameters())
    assert not net[0].weight.requires_grad
    assert net[4].weight.requires_grad


def test_train_and_eval_mode_count_alike_on_a_map_of_one_pixel():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    assert count(net.train(), (3, 3, 3)) == count(net.eval(), (3, 3, 3)) == macs(108, 216)


def test_inside_inference_mode():
    with torch.inference_mode():
        assert count(nn.Linear(5, 7), (5,)) == macs(35, 70)


def test_ties_and_tensor_attributes():
    net = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    net[1].weight = net[0].weight
    net[0].scale = torch.ones(4).requires_grad_() * 2  # not a leaf, which deepcopy alone refuses
    twin = on_meta(net)
    assert twin[1].weight is twin[0].weight
    assert twin[0].scale.device.type == "meta"
    assert net[0].scale.device.type == "cpu"


@pytest.mark.parametrize(("shapes", "dtypes"), [((), None), (((3,),), []), (((3,), (3,)), [torch.long])])
def test_wrong_inputs(shapes, dtypes):
    with pytest.raises(ValueError, match="input shapes and"):
        count(nn.Linear(3, 3), *shapes, dtypes=dtypes)


# --- a convolution is one matrix product a group: built from unfold or fold, checked by value, counted by torch.
def conv_as_products(x, weight, groups, transposed, **geometry):
    kernel, outputs = weight.shape[-1], []
    for part, filters in zip(x.chunk(groups, 1), weight.chunk(groups, 0), strict=True):
        if transposed:
            stride, padding, dilation = (geometry[key] for key in ("stride", "padding", "dilation"))
            size = (x.shape[-1] - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            outputs.append(F.fold(filters.flatten(1).T @ part.flatten(2), (size, size), kernel, **geometry))
        else:
            size = (x.shape[-1] + 2 * geometry["padding"] - geometry["dilation"] * (kernel - 1) - 1) // geometry["stride"]
            columns = filters.flatten(1) @ F.unfold(part, kernel, **geometry)
            outputs.append(columns.unflatten(-1, (size + 1, size + 1)))
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
    return x, weight, groups, transposed, {"stride": draw(st.integers(1, 3)), "padding": padding, "dilation": dilation}


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


# --- whole networks.
class SmallConv(nn.Sequential):
    def __init__(self):
        super().__init__(
            *(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU()),
            *(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 12, 1), nn.BatchNorm2d(12)),
            *(nn.ConvTranspose2d(12, 4, 2, stride=2, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
        )


def small_vit():
    return VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=3, num_classes=0, drop_path_rate=0.1)


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


# GMAC of the backbone at 224, 128 and 96 px: worked out layer by layer from the architectures, printed to 3 digits.
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


@pytest.mark.parametrize("name", GMACS)
def test_published_networks(name):
    options, expected = GMACS[name]
    known = name.replace("tiny_patch32", "tiny_patch16")  # timm has no ViT-Ti/32
    for size, gmac in zip((224, 128, 96), expected, strict=True):
        sized = {**options, "img_size": size} if name.startswith("vit") else options
        with torch.device("meta"), torch.no_grad():
            net = timm.create_model(known, num_classes=0, **sized)
            assert measure(lambda: net(meta(2, 3, size, size))) / 4e9 == pytest.approx(gmac, rel=0.01)  # noqa: B023


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet34", "resnet50", "vit_b_16", "vit_b_32"])
def test_what_torchvision_publishes(name):
    # The GMAC in the metadata of its weights, with classifier, to 3 decimals; its ViT is nn.MultiheadAttention in eval.
    gmac = torchvision.models.get_model_weights(name).IMAGENET1K_V1.meta["_ops"]
    with torch.device("meta"), torch.no_grad():
        net = torchvision.models.get_model(name).eval()
        assert measure(lambda: net(meta(2, 3, 224, 224))) / 4e9 == pytest.approx(gmac, abs=0.0006)


@pytest.mark.parametrize("name", ["mobilenetv2_100", "resnet18", "vit_small_patch16_224"])
def test_training_costs_three_forwards_less_the_first_layers_input_gradient(name):
    # First layer: 112x112 outputs, 3 inputs, 32 filters of 3x3 or 64 of 7x7; patches of 16x16 to 384.
    first = {"mobilenetv2_100": 112**2 * 27 * 32, "resnet18": 112**2 * 147 * 64}.get(name, 14**2 * 768 * 384)
    with torch.device("meta"):
        flops = count(timm.create_model(name, num_classes=0), (3, 224, 224))
    assert flops.train == 3 * flops.forward - 2 * first


@pytest.mark.parametrize("patch", [16, 32])
def test_vit_formula(patch):
    # N = (H/p)² + 1 tokens, d = 192, 12 layers: patches (H/p)²·3p²·d, each layer N·12d² (qkv, projection, MLP of 4d)
    # and 2N²d (QKt, AV). Trained: the patch embedding has no input gradient.
    side = 224 // patch
    tokens, d = side**2 + 1, 192
    stem, layers = side**2 * 3 * patch**2 * d, 12 * (tokens * 12 * d**2 + 2 * tokens**2 * d)
    with torch.device("meta"):
        net = timm.create_model("vit_tiny_patch16_224", patch_size=patch, num_classes=0)
    assert count(net, (3, 224, 224)) == macs(stem + layers, 2 * stem + 3 * layers)
