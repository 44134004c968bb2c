"""The fifteen common corruptions in five severities (Hendrycks and Dietterich, arXiv 1903.12261).

The library for them, imagecorruptions, brings 420 MB with OpenCV and scikit-image, does not import beside
today's setuptools, and works picture by picture; tests/models/test_corruptions.py compares with it.
The strengths are the paper's, of pictures of 224 px. At a side of S pixels, with r = S / 224:

* a length (a blur, a streak, a flake, a glass pixel's way) is the same share of the picture: pixels x r;
* noise, and how far the elastic warp bends, are x sqrt(r): less, x r, is all that averaging to a smaller
  picture would leave, and more than can be seen through in it. Shot noise so has 1 / r times the photons;
* a block of `pixelate` is 1 + (side - 1) r pixels wide, and JPEG's quantisation tables are x r;
* what has no size (brightness, contrast, zoom, fog, how strong frost and snow are) stays as it is.

At 32 px this is about as strong as the authors' own CIFAR-10-C. Departures from the authors: frost has drawn
crystals and not photographs of ice (weather.py); fog is fractal noise by octaves, not by diamond-square;
glass blur draws a pixel from nearby and does not swap two; the disc of `defocus_blur` has smooth edges; the
elastic warp is that of Michaelis et al. (arXiv 1907.07484), whose severities rise, as the authors' do not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from models.corruptions import blur, digital, noise, weather
from models.corruptions.draws import Draws

SEVERITIES = (1, 2, 3, 4, 5)
Corruption = Callable[..., Tensor]
# In the paper's order: what is done, and by which arguments in each severity.
TABLE: dict[str, tuple[Corruption, Sequence[Any]]] = {
    "gaussian_noise": (noise.gaussian, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": (noise.shot, (60, 25, 12, 5, 3)),
    "impulse_noise": (noise.impulse, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": (blur.defocus, (3, 4, 6, 8, 10)),
    "glass_blur": (blur.glass, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))),
    "motion_blur": (blur.motion, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))),
    "zoom_blur": (blur.zoom, ((0.01, 0.1), (0.01, 0.15), (0.02, 0.2), (0.02, 0.24), (0.03, 0.3))),
    "snow": (
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": (weather.frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))),
    "fog": (weather.fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": (digital.brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": (digital.contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": (
        digital.elastic,
        ((1.02, 2.24), (1.32, 2.24), (1.73, 2.24), (2.04, 2.24), (2.44, 2.24)),
    ),
    "pixelate": (digital.pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": (digital.jpeg, (25, 18, 15, 10, 7)),
}
NAMES = tuple(TABLE)


def corrupt(images: Tensor, name: str, severity: int, generators: Sequence[Generator]) -> Tensor:
    """Pictures uint8 (n, 3, S, S) -> the same, corrupted; picture i draws from generator i alone.

    Args:
        name: one of `NAMES`.
        severity: one of `SEVERITIES`.
    """
    what, strengths = TABLE[name]
    strength = strengths[severity - 1]
    arguments = strength if isinstance(strength, tuple) else (strength,)
    pixels = what(images.float() / 255, Draws(generators), *arguments)
    return (pixels.clamp(0, 1) * 255).round().to(torch.uint8)
