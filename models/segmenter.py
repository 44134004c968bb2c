"""Semantic segmentation on a timm encoder: images in, logits of each pixel's class out.

The encoder is read at the strides of models/dense.py: a convolutional one at its maps of 4, 8, 16 and 32 px,
together the hypercolumn of a pixel (Hariharan et al., arXiv 1411.5752), for at the small sizes of a pilot the
deepest map alone is two cells wide; a plain ViT at four evenly spaced depths of its token grid.

Two heads:

* `LinearHead`: batch normalisation and a 1 x 1 convolution, as DINOv2 (arXiv 2304.07193) and BEiT probe
  frozen features. A 1 x 1 convolution of the stacked maps is the sum of one of each map, and commutes with
  bilinear resizing, so each map is read at its own resolution, which costs a fraction.
* `FCNHead`: the maps are projected to `WIDTH` channels and added at the finest stride, and torchvision's
  FCNHead (Long et al., arXiv 1411.4038) reads them.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation import fcn

from models.dense import chosen, divisor, intermediates, maps
from models.encoders import normalisation

WIDTH = 128
LINEAR_DESCRIPTION = "batch normalisation and a 1 x 1 convolution of each of four maps"
FCN_DESCRIPTION = f"torchvision's FCNHead on four maps projected to {WIDTH} channels"


class LinearHead(nn.Module):
    """Maps (B, C_i, h_i, w_i), the first the finest, to logits (B, classes, h_0, w_0)."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width, affine=False), nn.Conv2d(width, classes, 1))
            for width in channels
        )

    def forward(self, *features: Tensor) -> Tensor:
        return _added([level(one) for level, one in zip(self.levels, features, strict=True)])


class FCNHead(nn.Module):
    """The same by projections to `WIDTH` channels and torchvision's FCNHead."""

    def __init__(self, channels: Sequence[int], classes: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(width, WIDTH, 1, bias=False) for width in channels)
        self.norm = nn.BatchNorm2d(WIDTH)
        self.head = fcn.FCNHead(WIDTH, classes)

    def forward(self, *features: Tensor) -> Tensor:
        added = _added([level(one) for level, one in zip(self.lateral, features, strict=True)])
        logits: Tensor = self.head(F.relu(self.norm(added)))
        return logits


class Segmenter(nn.Module):
    """An encoder and a head, initialised from torch's current RNG.

    Images float (B, 3, H, W) in [0, 1], of any size, give logits (B, classes, H, W). They are normalised as
    the encoder needs it, and padded at the right and below, with the mean, to the encoder's `divisor`.

    Args:
        frozen: with `LinearHead`, the encoder in eval mode and without gradient, whatever the mode; else with
            `FCNHead`, and everything trains, batch normalisation included.

    Raises:
        ValueError: if the encoder has no maps for it.
    """

    def __init__(self, encoder: nn.Module, classes: int, frozen: bool) -> None:
        super().__init__()
        given = maps(encoder)
        self.indices = chosen([reduction for _, reduction in given])
        self.encoder, self.frozen, self.divisor = encoder, frozen, divisor(encoder)
        channels = [given[index][0] for index in self.indices]
        self.head = (LinearHead if frozen else FCNHead)(channels, classes)
        mean, std = normalisation(encoder)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        if frozen:
            encoder.requires_grad_(False)
            encoder.eval()

    def train(self, mode: bool = True) -> "Segmenter":
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def maps(self, images: Tensor) -> list[Tensor]:
        """The maps of images, which `decode` reads."""
        mean: Any = self.mean
        inputs = F.pad((images - mean) / self.std, self._padding(images.shape[-2], images.shape[-1]))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            return intermediates(self.encoder, inputs, self.indices)

    def decode(self, features: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
        """The logits at this height and width of the images whose maps these are."""
        _, right, _, below = self._padding(*size)
        logits = _up(self.head(*features), (size[0] + below, size[1] + right))
        return logits[..., : size[0], : size[1]]

    def forward(self, images: Tensor) -> Tensor:
        return self.decode(self.maps(images), (images.shape[-2], images.shape[-1]))

    def _padding(self, height: int, width: int) -> tuple[int, int, int, int]:
        return 0, -width % self.divisor, 0, -height % self.divisor


def _added(parts: Sequence[Tensor]) -> Tensor:
    size = parts[0].shape[-2], parts[0].shape[-1]
    return torch.stack([_up(part, size) for part in parts]).sum(dim=0)


def _up(features: Tensor, size: tuple[int, int]) -> Tensor:
    if features.shape[-2:] == size:
        return features
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)
