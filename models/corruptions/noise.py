"""Noise of every pixel and channel by itself: pixels (n, 3, S, S) in [0, 1] in, the same out, unclamped."""

from math import sqrt

from torch import Tensor

from models.corruptions.draws import Draws, ratio


def gaussian(pixels: Tensor, draws: Draws, deviation: float) -> Tensor:
    """Add normal noise, as of a sensor in poor light."""
    return pixels + deviation * sqrt(ratio(pixels)) * draws.normal(*pixels.shape[1:])


def shot(pixels: Tensor, draws: Draws, photons: float) -> Tensor:
    """Count light of `photons` a white pixel."""
    rate = photons / ratio(pixels)
    return draws.poisson(pixels * rate) / rate


def impulse(pixels: Tensor, draws: Draws, share: float) -> Tensor:
    """Replace a share of the values, half of them by black and half by white."""
    drawn, half = draws.uniform(0, 1, *pixels.shape[1:]), share * sqrt(ratio(pixels)) / 2
    return pixels.masked_fill(drawn < half, 0).masked_fill(drawn > 1 - half, 1)
