"""Weather: pixels (n, 3, S, S) in [0, 1] in, the same out, unclamped."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models.corruptions.blur import magnified, smeared
from models.corruptions.draws import Draws, ratio

LUMA = (0.299, 0.587, 0.114)
ICE = (0.8, 0.94, 1.0)  # the tint of drawn crystals


def snow(
    pixels: Tensor,
    draws: Draws,
    mean: float,
    deviation: float,
    size: float,
    threshold: float,
    radius: float,
    sigma: float,
    kept: float,
) -> Tensor:
    """A whitened picture with flakes of `size` pixels, driven by wind from either side."""
    side = pixels.shape[-1]
    flakes = mean + deviation * draws.normal(1, side, side)
    flakes = magnified(flakes, max(1.0, size * ratio(pixels)))
    flakes = flakes.masked_fill(flakes < threshold, 0).clamp(0, 1)
    flakes = smeared(flakes, draws.uniform(-135, -45), radius, sigma)
    grey = (pixels * pixels.new_tensor(LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    pale = kept * pixels + (1 - kept) * torch.maximum(pixels, 1.5 * grey + 0.5)
    return pale + flakes + flakes.flip((2, 3))


def frost(pixels: Tensor, draws: Draws, kept: float, covering: float) -> Tensor:
    """A picture through frost: `kept` of it, and `covering` of a layer of crystals."""
    return kept * pixels + covering * crystals(draws, pixels.shape[-1])


def crystals(draws: Draws, side: int) -> Tensor:
    """Drawn frost (n, 3, S, S): needles are the ridges of fractal noise, on ice of uneven thickness.

    Mean and deviation are near those of the six photographs that the authors use (0.6 and 0.15).
    """
    needles = 1 - (2 * fractal(draws, side, 1.3) - 1).abs()
    ice = 0.25 + 0.45 * needles.pow(2) + 0.25 * fractal(draws, side, 2.0)
    return ice * ice.new_tensor(ICE)[:, None, None]


def fog(pixels: Tensor, draws: Draws, density: float, decay: float) -> Tensor:
    """Fractal noise over the picture, which is then darkened to the brightness that it had."""
    brightest = pixels.amax(dim=(1, 2, 3), keepdim=True)
    return (pixels + density * fractal(draws, pixels.shape[-1], decay)) * brightest / (brightest + density)


def fractal(draws: Draws, side: int, decay: float) -> Tensor:
    """Noise in [0, 1] (n, 1, S, S) whose parts have sides from half the picture to a pixel; each is `decay`
    times fainter than the one of twice its side.
    """
    total = torch.zeros(())
    for octave in range(1, math.ceil(math.log2(side)) + 1):
        points = draws.uniform(-1, 1, 1, 2**octave + 1, 2**octave + 1)
        fine = F.interpolate(points, size=(side, side), mode="bilinear", align_corners=True)
        total = total + fine / decay**octave
    low, high = (bound(total, dim=(1, 2, 3), keepdim=True) for bound in (torch.amin, torch.amax))
    return (total - low) / (high - low)
