"""Blurs: pixels (n, 3, S, S) in [0, 1] in, the same out."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from models.corruptions.draws import Draws, ratio

FINE = 9  # points along a pixel's side by which the share of it inside a disc is counted
SHARPEST = 0.2  # px; a Gaussian narrower than this changes nothing


def defocus(pixels: Tensor, draws: Draws, radius: float) -> Tensor:
    """The mean over a disc, as of a lens out of focus; of less than a pixel, what has its variance."""
    radius *= ratio(pixels)
    kernel = disc(radius) if radius >= 1 else narrow(radius)
    reach = len(kernel) // 2
    return F.conv2d(F.pad(pixels, [reach] * 4, mode="reflect"), kernel.expand(3, 1, -1, -1), groups=3)


def narrow(radius: float) -> Tensor:
    """A blur (3, 3) with the variance of a disc along each axis, radius^2 / 4."""
    variance = radius**2 / 4
    axis = torch.tensor([variance / 2, 1 - variance, variance / 2])
    return axis[:, None] * axis


def disc(radius: float) -> Tensor:
    """The share of each pixel that lies in a disc, of sum 1, (K, K) with an odd K."""
    side = 2 * math.ceil(radius - 0.5) + 1
    points = (torch.arange(side * FINE) + 0.5) / FINE - side / 2
    inside = (points[:, None].square() + points[None, :].square() <= radius**2).float()
    shares = F.avg_pool2d(inside[None, None], FINE)[0, 0]
    return shares / shares.sum()


def glass(pixels: Tensor, draws: Draws, sigma: float, reach: int, times: int) -> Tensor:
    """Let each pixel come from one nearby, several times, between two Gaussian blurs: frosted glass."""
    share, side = ratio(pixels), pixels.shape[-1]
    pixels, reach = smooth(pixels, sigma * share), max(1, round(reach * share))
    for _ in range(times):
        moved = draws.integers(-reach, reach, 2, side, side)
        pixels = shifted(pixels, moved[:, 0], moved[:, 1])
    return smooth(pixels, sigma * share)


def motion(pixels: Tensor, draws: Draws, radius: float, sigma: float) -> Tensor:
    """The mean along a line within 45 degrees of the horizontal, later positions fainter."""
    return smeared(pixels, draws.uniform(-45, 45), radius, sigma)


def smeared(pixels: Tensor, degrees: Tensor, radius: float, sigma: float) -> Tensor:
    """The mean of shifted copies in a direction (n,), weighted by half a Gaussian; 2 radius + 1 of them."""
    share = ratio(pixels)
    count, angle = 2 * max(1, round(radius * share)) + 1, torch.deg2rad(degrees)
    weights = torch.exp(-(torch.arange(count).square()) / (2 * (sigma * share) ** 2))
    weights = weights / weights.sum()
    out = torch.zeros_like(pixels)
    for step, weight in enumerate(weights.tolist()):
        down, right = (
            (step * wave).round().long()[:, None, None] for wave in (torch.sin(angle), torch.cos(angle))
        )
        out += weight * shifted(pixels, down, right)
    return out


def shifted(pixels: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """The pixel so far `down` and to the `right` of each, (n, 1, 1) or (n, S, S); edges are continued."""
    side = pixels.shape[-1]
    places = torch.arange(side)
    rows = (places[None, :, None] + down).clamp(0, side - 1)
    columns = (places[None, None, :] + right).clamp(0, side - 1)
    flat = (rows * side + columns).flatten(1)
    channels = flat[:, None, :].expand(-1, pixels.shape[1], -1)
    return pixels.flatten(2).gather(2, channels).view_as(pixels)


def zoom(pixels: Tensor, draws: Draws, step: float, most: float) -> Tensor:
    """The mean with magnified copies, up to 1 + `most` in steps: a camera that moves towards its object."""
    factors = [1 + i * step for i in range(round(most / step) + 1)]
    copies = [magnified(pixels, factor) for factor in factors]
    return (pixels + torch.stack(copies).sum(dim=0)) / (len(copies) + 1)


def magnified(pixels: Tensor, factor: float) -> Tensor:
    """About the centre, bilinear, (n, C, S, S)."""
    side = torch.linspace(-1 / factor, 1 / factor, pixels.shape[-1])
    grid = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)
    return F.grid_sample(pixels, grid.expand(len(pixels), -1, -1, -1), align_corners=True)


def smooth(pixels: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur of `sigma` pixels."""
    if sigma < SHARPEST:
        return pixels
    reach = min(math.ceil(4 * sigma), pixels.shape[-1] - 1)
    blurred: Tensor = gaussian_blur(pixels, [2 * reach + 1] * 2, [sigma] * 2)
    return blurred
