"""Colour changes, blur and solarisation of crops, as few passes over the batch as they take.

Brightness, contrast, saturation, hue, greyscale and normalisation are each affine in a pixel's colour, so an
image takes one 3 x 3 matrix for all of them. Departures from the papers: hue is rotated in YIQ space; values
are clipped once, after all of these, so that contrast can bring back what brightness drove out of range.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from models.encoders import Channels
from winnow.config.schema import View
from winnow.loading.noise import Noise

PerChannel = float | Channels
JITTERED = 0.8  # SimCLR's probability of any colour change
SIGMA = (0.1, 2.0)  # of the blur, in pixels, as in SimCLR and DINO
RADIUS = 6  # of its kernel: three times the largest sigma
LUMA = (0.299, 0.587, 0.114)
YIQ = torch.tensor([LUMA, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)])


def recoloured(crops: Tensor, view: View, noise: Noise, mean: PerChannel, std: PerChannel) -> Tensor:
    """uint8 (B, 3, S, S) -> float (B, 3, S, S) with `mean` and `std` removed, changed as the view says.

    Args:
        mean, std: of all channels, or of each.
    """
    pixels = crops.float()
    shift_by, scale_by = (torch.tensor(value).expand(3) for value in (mean, std))
    matrix, shift = torch.eye(3).expand(len(crops), 3, 3), torch.zeros(len(crops), 1)
    if view.jitter is not None:
        matrix, shift = _jitter(pixels, view.jitter, noise)
    if view.grey:
        chosen = noise() < view.grey
        matrix = torch.where(chosen[:, None, None], YIQ[:1] @ matrix, matrix)
    scale = (matrix / (255 * scale_by)[:, None]).to(crops.device)
    offset = ((shift - shift_by) / scale_by)[..., None].to(crops.device)
    pixels = torch.baddbmm(offset, scale, pixels.flatten(2)).view_as(pixels)
    black, grey, white = (
        ((level - shift_by) / scale_by)[:, None, None].to(crops.device) for level in (0.0, 0.5, 1.0)
    )
    bounds = zip(pixels.unbind(1), black.flatten().tolist(), white.flatten().tolist(), strict=True)
    for channel, low, high in bounds:  # by tensors it takes four times as long
        channel.clamp_(low, high)
    if view.blur:
        pixels = blurred(pixels, view.blur, noise)
    if view.solarise:
        chosen = torch.nonzero(noise() < view.solarise).flatten().to(crops.device)
        some = pixels[chosen]
        pixels = pixels.index_copy_(0, chosen, torch.where(some >= grey, black + white - some, some))
    return pixels


def _jitter(pixels: Tensor, strengths: list[float], noise: Noise) -> tuple[Tensor, Tensor]:
    """A matrix (B, 3, 3) and a grey level (B, 1) to add; factors are uniform around one."""
    chosen = noise() < JITTERED
    draws = (2 * noise(4) - 1) * torch.tensor(strengths)
    brightness, contrast, saturation, hue = torch.where(chosen[:, None], draws, 0.0).T
    level = pixels.mean(dim=(2, 3)).cpu() @ YIQ[0] / 255
    factor = (1 + brightness) * (1 + contrast)
    matrix = factor[:, None, None] * _turn(1 + saturation, 2 * math.pi * hue)
    return matrix, (-contrast * (1 + brightness) * level)[:, None]


def _turn(saturation: Tensor, angle: Tensor) -> Tensor:
    """The matrices (B, 3, 3) that scale and rotate the two colour axes of YIQ and keep the luma."""
    turn = torch.zeros(len(angle), 3, 3)
    turn[:, 0, 0] = 1
    turn[:, 1, 1] = turn[:, 2, 2] = saturation * angle.cos()
    turn[:, 1, 2], turn[:, 2, 1] = -saturation * angle.sin(), saturation * angle.sin()
    return torch.linalg.inv(YIQ) @ turn @ YIQ


def blurred(pixels: Tensor, probability: float, noise: Noise) -> Tensor:
    """Some of the images (B, 3, S, S) blurred in place, each by a sigma of its own; borders are repeated."""
    chosen = torch.nonzero(noise() < probability).flatten()
    sigma = (SIGMA[0] + (SIGMA[1] - SIGMA[0]) * noise())[chosen, None]
    if not len(chosen):
        return pixels
    places = torch.arange(-RADIUS, RADIUS + 1)
    weights = torch.exp(-(places**2) / (2 * sigma**2))
    weights = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(3, 0).to(pixels.device)
    chosen = chosen.to(pixels.device)
    some, groups = F.pad(pixels[chosen], [RADIUS] * 4, mode="replicate").flatten(0, 1)[None], len(weights)
    some = F.conv2d(some, weights[:, None, None, :], groups=groups)
    some = F.conv2d(some, weights[:, None, :, None], groups=groups)
    return pixels.index_copy_(0, chosen, some[0].unflatten(0, (-1, 3)))
