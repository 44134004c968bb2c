"""Backbones by their timm name, without a classifier: images (B, 3, S, S) in, features (B, D) out."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import timm
import torch
import torch.nn.functional as F
from timm.layers import PatchEmbed
from timm.models import is_model_in_modules, register_model
from torch import Tensor, nn

TRANSFORMERS = ("vision_transformer", "deit")  # timm's modules that take `img_size` and an `embed_layer`
Channels = tuple[float, float, float]


class Normalisation(NamedTuple):
    """What an encoder's inputs are normalised by: mean and standard deviation of red, green and blue, of
    pixels in [0, 1].
    """

    mean: Channels = (0.5, 0.5, 0.5)
    std: Channels = (0.5, 0.5, 0.5)


OWN = Normalisation()  # of every encoder that is trained from scratch


class RawPixels(nn.Module):
    """The images themselves as features, averaged to at most `side` x `side` pixels: nothing is learned.

    What a linear classifier reads from them is the floor of every encoder (2352 features at 28 px).
    """

    def __init__(self, img_size: int = 28, side: int = 28) -> None:
        super().__init__()
        self.side = min(side, img_size)
        self.num_features = 3 * self.side**2

    def forward(self, images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(images, self.side).flatten(1)


@register_model
def pixels(
    pretrained: bool = False,
    num_classes: int = 0,
    pretrained_cfg: Any = None,
    pretrained_cfg_overlay: Any = None,
    cache_dir: Any = None,
    **kwargs: Any,
) -> RawPixels:
    """`RawPixels` as a model of timm's, so that whatever takes a backbone takes it too."""
    if pretrained or num_classes:
        raise ValueError("pixels: has neither weights nor a classifier")
    return RawPixels(**kwargs)


class FlexiPatchEmbed(PatchEmbed):
    """timm's patch embedding that can also cut coarser or finer patches (FlexiViT, Beyer et al., arXiv
    2212.08013).

    The weights are those of the backbone's own patch size, resampled by the pseudo-inverse of the bilinear
    resize: a patch that was enlarged by resizing keeps its token. `at_patch` sets the size; the state dict is
    that of timm's class.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cut: int | None = None

    def forward(self, x: Tensor) -> Tensor:
        size = self.cut or self.patch_size[0]
        if x.shape[-1] % size or x.shape[-2] % size:
            raise ValueError(f"patches of {size} px do not divide images of {x.shape[-2]} x {x.shape[-1]} px")
        if self.cut is None or (self.cut, self.cut) == tuple(self.patch_size):
            return super().forward(x)
        kernel = self.proj.weight
        resampled = kernel.flatten(2) @ resampling(kernel.shape[-1], self.cut).to(kernel)
        tokens = F.conv2d(x, resampled.unflatten(2, (self.cut, self.cut)), self.proj.bias, stride=self.cut)
        return self.norm(tokens.permute(0, 2, 3, 1))  # timm expects a map where the image size may change


@lru_cache
def resampling(size: int, new: int) -> Tensor:
    """The matrix (size * size, new * new) that resamples a square kernel from `size` pixels to `new`; on CPU.

    It is the transposed pseudo-inverse of the resize. timm's `resample_patch_embed` does the same, but not on
    the meta device, where FLOPs are counted.
    """
    pixels = torch.eye(size * size, device="cpu").view(-1, 1, size, size)
    resize = F.interpolate(pixels, size=(new, new), mode="bilinear", antialias=True).flatten(1)
    return torch.from_numpy(np.linalg.pinv(resize.numpy()).T.copy())


@contextmanager
def at_patch(module: nn.Module, size: int | None) -> Iterator[None]:
    """Within the context, vision transformers in `module` cut patches of `size` pixels; None: their own."""
    flexible = [m for m in module.modules() if isinstance(m, FlexiPatchEmbed)] if size else []
    for layer in flexible:
        layer.cut = size
    try:
        yield
    finally:
        for layer in flexible:
            layer.cut = None


def create(name: str, image_size: int, **kwargs: Any) -> nn.Module:
    """A timm backbone with `num_classes=0`, randomly initialised from torch's current RNG.

    Vision transformers get the image size, and accept other sizes too (local views), by interpolating
    positions, and other patch sizes, by resampling their patch embedding.

    Raises:
        ValueError: if timm knows no such model, or the model cannot be built at this size.
    """
    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:6]}*")[:5]
        raise ValueError(f"backbones: {name!r} is no timm model; near names: {', '.join(near) or 'none'}")
    if is_model_in_modules(name, TRANSFORMERS):
        kwargs = {"img_size": image_size, "dynamic_img_size": True, "embed_layer": FlexiPatchEmbed, **kwargs}
    if name == pixels.__name__:
        kwargs = {"img_size": image_size, **kwargs}
    try:
        encoder = timm.create_model(name, pretrained=False, num_classes=0, **kwargs)
    except (TypeError, AssertionError, RuntimeError) as error:
        given = f"{name} at {image_size} px with {kwargs}"
        raise ValueError(f"backbones: {given} cannot be built: {error}") from error
    return encoder


def flexible(name: str) -> bool:
    """Whether `at_patch` has an effect on this timm model."""
    return bool(is_model_in_modules(name, TRANSFORMERS))


def normalisation(network: nn.Module) -> Normalisation:
    """What the inputs of an encoder, or of an objective around one, are normalised by.

    It is the attribute `normalisation` of the encoder, where its weights came with one of their own.
    """
    known = (getattr(module, "normalisation", None) for module in network.modules())
    return next((one for one in known if isinstance(one, Normalisation)), OWN)


def width(encoder: nn.Module) -> int:
    """D, the number of features that the encoder returns for an image."""
    features = getattr(encoder, "head_hidden_size", None) or encoder.num_features
    assert isinstance(features, int)
    return features
