"""Views: seeded, batched, different for each image, and of the stated geometry."""

import pytest
import torch
from torchvision.transforms.v2 import Normalize

from models.encoders import Normalisation
from winnow.config.schema import View
from winnow.loading import views


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=16, size=28, seed=0):
    return torch.randint(0, 256, (count, 3, size, size), generator=gen(seed), dtype=torch.uint8)


JITTER = [0.4, 0.4, 0.2, 0.1]
FULL = View(count=2, scale=[0.2, 1.0], flip=0.5, jitter=JITTER, grey=0.3, blur=0.5, solarise=0.2)


def test_the_generator_is_the_only_randomness():
    rng = torch.get_rng_state()
    one, two = (views.make(images(), {"a": FULL}, gen(3))["a"] for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(one, two, strict=True))
    assert not torch.equal(one[0], one[1])
    assert torch.equal(rng, torch.get_rng_state())


def test_a_plain_view_is_the_image_with_mean_and_std_removed():
    plain = views.make(images(), {"image": View()}, gen())["image"][0]
    torch.testing.assert_close(plain, (images().float() / 255 - 0.5) / 0.5)


def test_views_are_normalised_as_the_encoder_needs_it():
    """The oracle is torchvision's Normalize, of each channel by its own mean and std."""
    by = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    plain = views.make(images(), {"image": View()}, gen(), by)["image"][0]
    torch.testing.assert_close(plain, Normalize(*map(list, by))(images().float() / 255))


@pytest.mark.parametrize("size", [16, 28, 40])
def test_sizes_and_range(size):
    view = View(size=size, scale=[0.05, 0.3], flip=0.5, jitter=JITTER, grey=0.2, blur=0.5, solarise=0.5)
    out = views.make(images(), {"a": view}, gen())["a"][0]
    assert out.shape == (16, 3, size, size)
    assert out.min() >= -1
    assert out.max() <= 1


def test_a_crop_of_the_whole_image_is_the_image_or_its_mirror(monkeypatch):
    monkeypatch.setattr(views, "RATIO", (1.0, 1.0))
    pixels = images(64).float() / 255
    out = views.crop(pixels, 28, (1.0, 1.0), 0.5, gen())
    mirrored = [torch.allclose(a, b.flip(-1), atol=1e-4) for a, b in zip(out, pixels, strict=True)]
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(out, pixels, strict=True)]
    assert all(a or b for a, b in zip(mirrored, same, strict=True))
    assert 0.2 < sum(mirrored) / 64 < 0.8


def test_the_area_of_a_crop_is_within_its_scale():
    """On a linear ramp, the slope of the crop is its side as a fraction of the image's, in x and in y."""
    size = 56
    ramp = torch.arange(size).float() / size
    channels = [ramp.expand(size, size), ramp[:, None].expand(size, size), torch.zeros(size, size)]
    pixels = torch.stack(channels).expand(200, -1, -1, -1)
    out = views.crop(pixels, size, (0.3, 0.6), 0.0, gen())
    inner = slice(8, -8)
    across, down = out[:, 0, :, inner], out[:, 1, inner]
    width = (across[..., -1] - across[..., 0]).mean(1) * size / (size - 17)
    height = (down[:, -1] - down[:, 0]).mean(1) * size / (size - 17)
    area = width * height
    assert area.min() > 0.3 * 0.93
    assert area.max() < 0.6 * 1.07
    assert area.std() > 0.05


def test_grey_has_no_colour_and_hue_keeps_luma():
    grey = views.make(images(), {"a": View(grey=1.0)}, gen())["a"][0]
    torch.testing.assert_close(grey[:, 0], grey[:, 1])
    soft = images().float() / 255 * 0.2 + 0.4
    turned = views._turn(soft, torch.ones(16), torch.full((16,), 0.6))
    luma = torch.tensor(views.LUMA)[:, None, None]
    torch.testing.assert_close((turned * luma).sum(1), (soft * luma).sum(1), atol=2e-3, rtol=0)
    assert (turned - soft).abs().max() > 0.01
