"""Exposure, warping and compression: pixels (n, 3, S, S) in [0, 1] in, the same out, unclamped."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.io import decode_jpeg, encode_jpeg

from models.corruptions.blur import smooth
from models.corruptions.draws import Draws, ratio


def brightness(pixels: Tensor, draws: Draws, more: float) -> Tensor:
    """Add to the value of hue, saturation and value; black becomes grey."""
    value = pixels.amax(dim=1, keepdim=True)
    brighter = (value + more).clamp(max=1)
    return torch.where(value > 0, pixels / value.clamp(min=1e-6), 1.0) * brighter


def contrast(pixels: Tensor, draws: Draws, kept: float) -> Tensor:
    """Move every pixel towards its channel's mean."""
    mean = pixels.mean(dim=(2, 3), keepdim=True)
    return (pixels - mean) * kept + mean


def elastic(pixels: Tensor, draws: Draws, amplitude: float, sigma: float) -> Tensor:
    """Move each pixel by a smooth field, of this standard deviation and width, each way."""
    share, side = ratio(pixels), pixels.shape[-1]
    wide = max(1.0, sigma * share)
    field = smooth(draws.normal(2, side, side), wide) * (2 * math.sqrt(math.pi) * wide)  # of deviation 1
    places = torch.arange(side).float()
    here = torch.stack(torch.meshgrid(places, places, indexing="xy"), dim=-1)
    source = here + amplitude * math.sqrt(share) * field.movedim(1, -1)
    grid = 2 * source / (side - 1) - 1
    return F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=True)


def pixelate(pixels: Tensor, draws: Draws, kept: float) -> Tensor:
    """Shrink to `kept` of the side by the mean of boxes, and magnify to blocks."""
    side = pixels.shape[-1]
    small = max(1, int(side / (1 + (1 / kept - 1) * ratio(pixels))))
    boxes = _boxes(side, small).to(pixels)
    shrunk = boxes @ pixels @ boxes.T
    nearest = ((torch.arange(side) + 0.5) * small / side).long()
    return shrunk[:, :, nearest][:, :, :, nearest]


def _boxes(side: int, small: int) -> Tensor:
    """The weights (small, side) of the pixels whose centres lie in each of `small` boxes along a side."""
    edges = torch.arange(small + 1, dtype=torch.float64) * side / small
    centres = torch.arange(side, dtype=torch.float64) + 0.5
    inside = ((centres > edges[:-1, None]) & (centres <= edges[1:, None])).float()
    return inside / inside.sum(dim=1, keepdim=True)


def jpeg(pixels: Tensor, draws: Draws, quality: int) -> Tensor:
    """Compress as JPEG at a quality of libjpeg's scale, at 224 px."""
    scale = 5000 / quality * ratio(pixels)  # of the quantisation tables, in percent; quality is below 50
    scaled = round(5000 / scale if scale > 100 else (200 - scale) / 2)
    stored = (pixels * 255).round().to(torch.uint8).cpu()
    files = [encode_jpeg(one, quality=min(max(scaled, 1), 100)) for one in stored]
    return torch.stack([decode_jpeg(one) for one in files]).to(pixels) / 255
