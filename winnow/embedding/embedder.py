"""A finished model as a maker of embeddings; winnow/embedding/open_model.py opens one."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models import encoders
from models.flops import count, measure, on_meta

Normalisation = float | tuple[float, ...]  # one number for all channels, or one each


@dataclass(frozen=True)
class Embedder:
    """`images` maps uint8 (B, 3, size, size) to (B, D), `texts` captions to (B, D), None where the model
    embeds none.

    `weights` is the SHA-256 of the model's file, and `plugins` are the modules that it runs and that are
    found by name. `image_flops` and `text_flops` are the cost of one example, `train_flops` that of training
    the model, 0 where it is unknown. `normalisation` is given where a file beside the weights decides it.
    """

    name: str
    weights: str
    size: int
    module: nn.Module
    images: Callable[[Tensor], Tensor]
    texts: Callable[[list[str]], Tensor] | None
    image_flops: int
    text_flops: int = 0
    train_flops: int = 0
    plugins: tuple[str, ...] = ()
    normalisation: encoders.Normalisation = encoders.OWN


def image_embedder(
    name: str, weights: str, size: int, encoder: nn.Module, mean: Normalisation, std: Normalisation
) -> Embedder:
    """An encoder (B, 3, size, size) -> (B, D) that embeds images alone."""

    def images(pixels: Tensor) -> Tensor:
        return encoder(normalise(pixels, mean, std))

    return Embedder(name, weights, size, encoder, images, None, count(encoder, (3, size, size)).forward)


def normalise(pixels: Tensor, mean: Normalisation, std: Normalisation) -> Tensor:
    """uint8 (B, 3, H, W) -> float in units of the standard deviation from the mean."""
    shift, scale = (
        torch.as_tensor(value, dtype=torch.float32, device=pixels.device).reshape(-1, 1, 1)
        for value in (mean, std)
    )
    return (pixels.float() / 255 - shift) / scale


def flops_of(module: nn.Module, call: Callable[[Any], Tensor]) -> int:
    """FLOPs of a call of a module, counted on a copy without data."""
    meta_copy = on_meta(module).eval()
    with torch.no_grad(), torch.device("meta"):
        return measure(partial(call, meta_copy))


def device_of(module: nn.Module) -> torch.device:
    return next(module.parameters()).device
