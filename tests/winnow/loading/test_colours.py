"""Colours of crops: each change alone against torchvision or its formula, and all of them on one scale."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional

from winnow.config.schema import View
from winnow.loading import colours
from winnow.loading.noise import Noise

COUNT = 64
INNER = (..., slice(8, -8), slice(8, -8))


def noise():
    return Noise(5, np.arange(COUNT, dtype=np.uint64))


def crops(size=24, low=80, high=170):
    """No change below drives these levels out of range."""
    draw = torch.Generator().manual_seed(1)
    return torch.randint(low, high, (COUNT, 3, size, size), generator=draw, dtype=torch.uint8)


def made(pixels, **view):
    """In [0, 1]."""
    return colours.recoloured(pixels, View(**view), noise(), 0.5, 0.5) / 2 + 0.5


def test_a_plain_view_has_mean_and_std_removed():
    out = colours.recoloured(crops(), View(), noise(), 0.4, 0.2)
    torch.testing.assert_close(out, (crops().float() / 255 - 0.4) / 0.2, atol=1e-6, rtol=1e-5)


def test_each_channel_has_its_own_mean_and_std_whatever_is_changed():
    """Against the same changes on the scale of [0, 1], normalised afterwards by torchvision."""
    changes = View(jitter=[0.4, 0.4, 0.2, 0.1], grey=0.3, blur=0.5, solarise=0.5)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    out = colours.recoloured(crops(low=0, high=256), changes, noise(), mean, std)
    plain = colours.recoloured(crops(low=0, high=256), changes, noise(), 0.0, 1.0)
    expected = functional.normalize(plain, list(mean), list(std))
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_brightness_contrast_and_saturation_are_torchvisions(which):
    """Expected: torchvision's adjustment by the factor drawn, or none where no change is drawn."""
    adjust = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)[which]
    strengths = [0.0, 0.0, 0.0, 0.0]
    strengths[which] = 0.3
    found, drawn = made(crops(), jitter=strengths), noise()
    chosen, factors = drawn() < 0.8, 1 + 0.3 * (2 * drawn(4)[:, which] - 1)
    assert 0 < chosen.sum() < COUNT
    for image, one, changed, factor in zip(crops().float() / 255, found, chosen, factors, strict=True):
        expected = adjust(image, float(factor)) if changed else image
        torch.testing.assert_close(one, expected, atol=2e-3, rtol=0)  # YIQ's weights have three digits


def test_hue_keeps_the_luma_and_turns_colours():
    luma = torch.tensor(colours.LUMA)[:, None, None]
    found, before = made(crops(low=110, high=140), jitter=[0, 0, 0, 0.5]), crops(low=110, high=140) / 255
    torch.testing.assert_close((found * luma).sum(1), (before * luma).sum(1), atol=2e-3, rtol=0)
    assert (found - before).abs().max() > 0.05


def test_values_are_clipped_once_to_the_range():
    found = made(crops(low=0, high=256), jitter=[0.9, 0.9, 0.9, 0.5])
    assert found.min() >= -1e-6
    assert found.max() <= 1 + 1e-6
    assert (found > 1 - 1e-6).any()


def test_grey_images_have_one_level_the_luma():
    found, chosen = made(crops(), grey=0.5), noise()() < 0.5
    luma = (crops() / 255 * torch.tensor(colours.LUMA)[:, None, None]).sum(1)
    for channel in range(3):
        torch.testing.assert_close(found[chosen][:, channel], luma[chosen])
    torch.testing.assert_close(found[~chosen], crops()[~chosen] / 255)


def test_solarised_images_have_their_upper_half_inverted():
    found, chosen, image = made(crops(), solarise=0.5), noise()() < 0.5, crops() / 255
    torch.testing.assert_close(found[chosen], torch.where(image >= 0.5, 1 - image, image)[chosen])
    torch.testing.assert_close(found[~chosen], image[~chosen])


def test_the_blur_is_gaussian_of_a_sigma_of_its_own(monkeypatch):
    """Expected: torchvision's blur, away from the borders, which it reflects."""
    found, drawn = made(crops(), blur=0.5), noise()
    chosen, sigma = drawn() < 0.5, 0.1 + 1.9 * drawn()
    assert 0 < chosen.sum() < COUNT
    for image, one, changed, s in zip(crops() / 255, found, chosen, sigma.tolist(), strict=True):
        expected = functional.gaussian_blur(image, [13, 13], [s, s]) if changed else image
        torch.testing.assert_close(one[INNER], expected[INNER], atol=1e-5, rtol=0)


def test_nothing_chosen_is_nothing_changed():
    found = made(crops(), blur=1e-9, solarise=1e-9, grey=1e-9)
    torch.testing.assert_close(found, crops() / 255)
