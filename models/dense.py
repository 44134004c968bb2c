"""Dense features of timm encoders: which of their intermediate maps a dense task reads, and at which sizes.

A convolutional encoder has a map of each stride. An encoder whose maps all have one stride (a plain ViT) is
read at evenly spaced depths, the deepest for the coarsest level.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (4, 8, 16, 32)


def maps(encoder: nn.Module) -> list[tuple[int, int]]:
    """Channels and stride of each intermediate map, shallow to deep.

    Raises:
        ValueError: if the encoder gives none.
    """
    info: Any = getattr(encoder, "feature_info", None)
    if not hasattr(encoder, "forward_intermediates") or not isinstance(info, list):
        name = type(encoder).__name__
        raise ValueError(
            f"backbones: {name} gives no intermediate maps; detection and segmentation need another backbone"
        )
    return [(int(part["num_chs"]), int(part["reduction"])) for part in info]


def chosen(reductions: list[int]) -> list[int]:
    """The map for each of `STRIDES`: the deepest of that stride, or evenly spaced ones where all have one.

    Raises:
        ValueError: if there is no map of one of them.
    """
    if len(set(reductions)) == 1:
        return [len(reductions) * (i + 1) // len(STRIDES) - 1 for i in range(len(STRIDES))]
    last = {reduction: index for index, reduction in enumerate(reductions)}
    missing = [stride for stride in STRIDES if stride not in last]
    if missing:
        strides = f"backbones: maps of strides {sorted(last)} px, dense tasks need {list(STRIDES)}"
        raise ValueError(f"{strides}; take another backbone")
    return [last[stride] for stride in STRIDES]


def intermediates(encoder: nn.Module, images: Tensor, indices: Sequence[int]) -> list[Tensor]:
    """The maps (B, C, h, w) at these indices, of normalised images (B, 3, H, W), whose sides are multiples of
    `divisor`.
    """
    found: list[Tensor] = encoder.forward_intermediates(images, indices=indices, intermediates_only=True)  # type: ignore[operator]
    return found


def resized(features: Tensor, size: tuple[int, int]) -> Tensor:
    """A map (B, C, h, w) at another size: bilinear up, area average down."""
    if features.shape[-2:] == size:
        return features
    if features.shape[-1] > size[-1]:
        return F.adaptive_avg_pool2d(features, size)
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)


def divisor(encoder: nn.Module) -> int:
    """What the sides of an input must be a multiple of: the coarsest stride, and a ViT's patch."""
    patch = getattr(getattr(encoder, "patch_embed", None), "patch_size", (1, 1))
    return math.lcm(max(STRIDES), *patch)
