"""Backbones by their timm name, without a classifier: images (B, 3, S, S) in, features (B, D) out."""

from typing import Any

import timm
from torch import nn


def create(name: str, image_size: int, **kwargs: Any) -> nn.Module:
    """A timm backbone with `num_classes=0`, randomly initialised from torch's current RNG.

    Vision transformers are told the image size and accept other sizes too (local views), by interpolating positions.

    Raises:
        ValueError: if timm knows no such model, or the model cannot be built at this size.
    """
    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:6]}*")[:5]
        raise ValueError(f"backbones: {name!r} is no timm model; near names: {', '.join(near) or 'none'}")
    try:
        encoder = timm.create_model(name, pretrained=False, num_classes=0, **_size(name, image_size, kwargs))
    except (TypeError, AssertionError, RuntimeError) as error:
        raise ValueError(f"backbones: {name} at {image_size} px with {kwargs} cannot be built: {error}") from error
    return encoder


def _size(name: str, image_size: int, kwargs: dict[str, Any]) -> dict[str, Any]:
    if "vit" not in name or "img_size" in kwargs:
        return {**({"dynamic_img_size": True} if "vit" in name else {}), **kwargs}
    return {"img_size": image_size, "dynamic_img_size": True, **kwargs}


def width(encoder: nn.Module) -> int:
    """D, the number of features that the encoder returns for an image."""
    features = getattr(encoder, "head_hidden_size", None) or encoder.num_features
    assert isinstance(features, int)
    return features
