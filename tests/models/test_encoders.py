"""Backbones by timm name, at the sizes that the configs use."""

import copy

import pytest
import timm
import timm.layers
import torch
import torch.nn.functional as F

from models import encoders
from models.flops import on_meta


@pytest.mark.parametrize(
    ("name", "size", "kwargs"),
    [
        ("test_resnet", 28, {}),
        ("mobilenetv2_100", 64, {}),
        ("resnet18", 64, {}),
        ("vit_tiny_patch16_224", 64, {"img_size": 64, "patch_size": 8}),
    ],
)
def test_features_have_the_stated_width_and_local_views_work(name, size, kwargs):
    encoder = encoders.create(name, size, **kwargs).eval()
    with torch.no_grad():
        for side in (size, 48 if size == 64 else 16):
            assert encoder(torch.zeros(2, 3, side, side)).shape == (2, encoders.width(encoder))


def test_an_unknown_name_is_one_line_with_near_names():
    with pytest.raises(ValueError, match="'resnet180' is no timm model; near names: .*resnet") as caught:
        encoders.create("resnet180", 28)
    assert "\n" not in str(caught.value)


def vit():
    torch.manual_seed(0)
    return encoders.create("test_vit", 32, patch_size=4).eval()


def test_with_its_own_patches_a_vision_transformer_is_timms():
    plain = timm.create_model("test_vit", num_classes=0, img_size=32, patch_size=4).eval()
    plain.load_state_dict(vit().state_dict())  # strict: the names are timm's
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(vit()(images), plain(images))


def test_a_patch_made_larger_keeps_its_token():
    """FlexiViT's property (arXiv 2212.08013, section 3.3): resampling the kernel undoes a resized patch."""
    encoder = vit()
    patches = torch.randn(8, 3, 4, 4)
    with torch.no_grad():
        own = encoder.patch_embed(patches)
        with encoders.at_patch(encoder, 8):
            larger = encoder.patch_embed(F.interpolate(patches, size=(8, 8), mode="bilinear", antialias=True))
    torch.testing.assert_close(own, larger, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("new", [3, 6, 8])
def test_a_kernel_is_resampled_as_by_timm(new):
    """Oracle: timm.layers.resample_patch_embed."""
    kernel = torch.randn(5, 3, 4, 4)
    ours = (kernel.flatten(2) @ encoders.resampling(4, new)).unflatten(2, (new, new))
    theirs = timm.layers.resample_patch_embed(kernel, [new, new], interpolation="bilinear")
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_coarse_patches_are_fewer_tokens():
    encoder = vit()
    with encoders.at_patch(encoder, 8):
        assert encoder.patch_embed(torch.zeros(2, 3, 32, 32)).shape == (2, 4, 4, 64)
        with pytest.raises(ValueError, match="patches of 8 px do not divide images of 28 x 28 px"):
            encoder(torch.zeros(2, 3, 28, 28))
    assert encoder.patch_embed(torch.zeros(2, 3, 32, 32)).shape == (2, 8, 8, 64)


def test_the_gradient_through_coarse_patches_is_that_of_finite_differences():
    """Of a random projection: the features end in a LayerNorm, and the gradient of their sum is zero."""
    encoder, draw = vit().double(), torch.Generator().manual_seed(1)
    images, weights = (torch.randn(2, *s, generator=draw, dtype=torch.double) for s in ((3, 32, 32), (64,)))
    kernel = encoder.patch_embed.proj.weight
    direction = torch.randn(kernel.shape, generator=draw, dtype=torch.double)

    def value():
        with encoders.at_patch(encoder, 8):
            return (encoder(images) * weights).sum()

    value().backward()
    with torch.no_grad():
        up, down = (value_at(kernel, step * direction, value) for step in (1e-5, -1e-5))
    slope = float((kernel.grad * direction).sum())
    assert abs(slope) > 0.1
    assert (up - down) / 2e-5 == pytest.approx(slope, rel=1e-6)


def value_at(kernel, moved, value):
    kernel.add_(moved)
    found = float(value())
    kernel.sub_(moved)
    return found


def test_an_encoder_says_how_its_inputs_are_normalised_wherever_it_is():
    encoder = encoders.create("test_resnet", 28)
    assert encoders.normalisation(encoder) == encoders.OWN == ((0.5,) * 3, (0.5,) * 3)
    encoder.normalisation = by = encoders.Normalisation((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    inside = torch.nn.ModuleDict({"head": torch.nn.Linear(2, 2), "encoder": encoder})
    for network in (encoder, inside, copy.deepcopy(inside), on_meta(inside)):
        assert encoders.normalisation(network) == by
    assert all("normalisation" not in name for name in encoder.state_dict())


def test_which_backbones_cut_patches():
    names = ("test_vit", "deit_tiny_patch16_224", "resnet18", "levit_128")
    assert [encoders.flexible(name) for name in names] == [True, True, False, False]


def test_raw_pixels_are_a_backbone_of_means_by_numpy():
    """At its own size the pixels themselves, at a larger one the means of blocks."""
    images = torch.randn(2, 3, 8, 8)
    same, small = encoders.create("pixels", 8, side=28), encoders.create("pixels", 8, side=4)
    assert torch.equal(same(images), images.flatten(1))
    blocks = images.numpy().reshape(2, 3, 4, 2, 4, 2).mean(axis=(3, 5))
    torch.testing.assert_close(small(images), torch.tensor(blocks).flatten(1))
    assert (encoders.width(same), encoders.width(small)) == (192, 48)
    assert timm.is_model("pixels")
    with pytest.raises(ValueError, match="^backbones: pixels at 8 px with .*depth.* cannot be built"):
        encoders.create("pixels", 8, depth=2)
