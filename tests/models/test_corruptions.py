"""The corruptions against imagecorruptions 1.1.2 (numpy 2.4.6, OpenCV 5.0.0, Pillow 13.0.0).

It was run once on the 224 pixels at (100, 200) of scikit-learn's china.jpg: `rms` is the root mean square of
the change in each severity, `green` the means of its green channel in 7 x 7 squares, where nothing is drawn.
"""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_image

from models.corruptions.blur import disc, narrow
from models.corruptions.corrupt import NAMES, SEVERITIES, corrupt
from models.corruptions.draws import Draws
from models.corruptions.weather import crystals, fractal

THEIRS = json.loads((Path(__file__).parent.parent / "golden/corruptions.json").read_text())
FIXED = ["defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression"]
# Made otherwise than theirs, as models/corruptions/corrupt.py says: how far their strengths may differ.
OTHERS = {"frost": 0.5, "fog": 0.5, "snow": 0.2, "glass_blur": 0.15, "motion_blur": 0.15}
RISING = [name for name in NAMES if name not in ("glass_blur", "snow", "frost", "fog", "pixelate")]


def generators(count=1):
    return [torch.Generator().manual_seed(number) for number in range(count)]


@pytest.fixture(scope="module")
def photo():
    """uint8 (1, 3, 224, 224)."""
    return torch.from_numpy(load_sample_image("china.jpg")[100:324, 200:424].copy()).permute(2, 0, 1)[None]


def small(photo, side=28, count=4):
    shrunk = F.interpolate(photo.float(), size=(side, side), mode="area").round().to(torch.uint8)
    return shrunk.expand(count, -1, -1, -1)


def rms(a, b):
    return float((a.float() - b.float()).square().mean().sqrt())


@pytest.mark.parametrize("name", FIXED)
def test_what_draws_nothing_is_the_librarys(photo, name):
    """To 3 of 255 in every square; JPEG exactly."""
    for severity in SEVERITIES:
        green = corrupt(photo, name, severity, generators())[0, 1].float()
        squares = F.avg_pool2d(green[None, None], 32).flatten()
        expected = torch.tensor(THEIRS[name]["green"][severity - 1])
        most = 0.01 if name == "jpeg_compression" else 3.0
        assert (squares - expected).abs().max() < most, severity


@pytest.mark.parametrize("name", NAMES)
def test_every_severity_is_as_strong_as_the_librarys(photo, name):
    for severity in SEVERITIES:
        ours = rms(corrupt(photo, name, severity, generators()), photo)
        theirs = THEIRS[name]["rms"][severity - 1]
        assert ours == pytest.approx(theirs, rel=OTHERS.get(name, 0.06)), severity


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_depends_on_its_own_generator_alone(photo, name):
    images = small(photo)
    together = corrupt(images, name, 3, generators(4))
    assert (together.shape, together.dtype) == (images.shape, torch.uint8)
    assert together[2:3].equal(corrupt(images[2:3], name, 3, generators(4)[2:3]))
    assert together.equal(corrupt(images, name, 3, generators(4)))
    assert together[0].equal(together[1]) == (name in FIXED)


@pytest.mark.parametrize("side", [28, 64])
@pytest.mark.parametrize("name", NAMES)
def test_small_pictures_are_corrupted_too(photo, name, side):
    images = small(photo, side)
    strengths = [rms(corrupt(images, name, one, generators(4)), images) for one in SEVERITIES]
    assert min(strengths) > 0.3, "no severity does nothing"
    assert name not in RISING or strengths == sorted(strengths)


def test_a_disc_is_round_and_a_narrow_one_has_its_variance():
    kernel = disc(3.0)
    assert kernel.shape == (7, 7)
    assert kernel.equal(kernel.T)
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-6)
    assert float(kernel.max()) == pytest.approx(1 / (torch.pi * 9), rel=0.02)  # a pixel's share of the disc
    places = torch.arange(-1.0, 2)
    assert float((narrow(0.8).sum(dim=0) * places**2).sum()) == pytest.approx(0.8**2 / 4)


def test_drawn_frost_is_as_bright_as_photographs_of_it():
    """Means of the library's six photographs are 0.35 to 0.81, deviations 0.09 to 0.17."""
    for side in (28, 224):
        ice, noise = crystals(Draws(generators(4)), side), fractal(Draws(generators(4)), side, 2.0)
        assert 0.35 < float(ice.mean()) < 0.81
        assert 0.09 < float(ice.std(dim=(1, 2, 3)).mean()) < 0.17
        assert noise.amin(dim=(1, 2, 3)).tolist() == [0] * 4
        assert noise.amax(dim=(1, 2, 3)).tolist() == [1] * 4
