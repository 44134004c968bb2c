"""One file per pretraining objective: a `Config` dataclass and a class `Method(Objective)`.

The training loop depends on this module only: it builds the views that the recipe names, calls the method,
takes the mean of `Losses.example`, and calls `after_step`. Selection scores are losses, which is why every
method returns one loss per example.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from models.encoders import at_patch

T = TypeVar("T")


@dataclass
class Batch:
    """Views of B examples: name of the view -> its draws, each (B, 3, S, S).

    `labels` are (B,) int64, `tokens` (B, L) int64 or None. `patch_size` is the side in pixels of the patches
    that a vision transformer cuts these views into; None is the backbone's own.
    """

    views: dict[str, list[Tensor]]
    labels: Tensor
    tokens: Tensor | None = None
    patch_size: int | None = None


@dataclass
class Losses:
    """`example` (B,): each example's loss. `pair` (B, B), for contrastive methods: image i, text or view j.

    `gradient_norm` (B,), for a method with a classifier: the norm of the loss's gradient with respect to the
    logits, detached.
    """

    example: Tensor
    pair: Tensor | None = None
    gradient_norm: Tensor | None = None


class Objective(nn.Module):
    """A pretraining objective around an encoder. In eval mode a forward changes nothing, buffers included.

    A method with pairs implements `embed`, `compare` and `pairs`, any other one `losses`.
    """

    NEEDS: ClassVar[frozenset[str]] = frozenset()  # of {"labels", "captions"}
    VIEWS: ClassVar[dict[str, tuple[int, int]]] = {"image": (1, 1)}  # name of a view -> least and most draws
    # What `Losses.pair` holds: "sigmoid", losses that add up to the batch's; "softmax", logits; "", nothing.
    PAIR: ClassVar[str] = ""
    encoder: nn.Module

    def forward(self, *parts: Batch) -> Losses:
        """The losses of a batch, whole or in parts whose views differ in size.

        Pairs reach across parts; BatchNorm does not.
        """
        if not self.PAIR:
            return _joined([self._within(part, self.losses) for part in parts])
        sides = [self._within(part, self.embed) for part in parts]
        first, second = (torch.cat(side) for side in zip(*sides, strict=True))
        return self.compare(first, second)

    def _within(self, part: Batch, compute: Callable[[Batch], T]) -> T:
        with at_patch(self, part.patch_size):
            return compute(part)

    def losses(self, batch: Batch) -> Losses:
        """Without pairs: the loss of each example of a batch."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """With pairs: unit-norm embeddings (B, E) of both sides, the arguments of `compare` and `pairs`."""
        raise NotImplementedError

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        """With pairs: the losses of embeddings (B, E) and (B, E)."""
        raise NotImplementedError

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """With pairs: embeddings (B, E) and (C, E) -> (B, C), as in `Losses.pair`; diagonal: matches."""
        raise NotImplementedError

    def exported(self) -> nn.Module:
        """The encoder that is saved and evaluated."""
        return self.encoder

    def projection(self) -> nn.Sequential | None:
        """The layers of the exported encoder's projection head up to the second linear one, with what follows
        it within the head's hidden part; None where the method has no such head.
        """
        return None

    def trained(self) -> nn.Module:
        """The encoder that the optimiser trains."""
        return self.encoder

    def classify(self, images: Tensor) -> Tensor | None:
        """Logits (B, classes) of plain images (B, 3, S, S) where the method has a classifier, else None."""
        return None

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step with the fraction of training done, in (0, 1]."""


def _joined(parts: list[Losses]) -> Losses:
    if len(parts) == 1:
        return parts[0]
    example = torch.cat([part.example for part in parts])
    norms = [part.gradient_norm for part in parts if part.gradient_norm is not None]
    return Losses(example, gradient_norm=torch.cat(norms) if norms else None)


def upcast(values: Tensor) -> Tensor:
    """At least float32: autocast gives bfloat16, which is too coarse for the logits of a loss."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def load(name: str) -> Any:
    """The module of a method, with `.Config` and `.Method`; its file name is its key in params.yaml."""
    return importlib.import_module(f"models.methods.{name}")


def has_projection(name: str) -> bool:
    """Whether a method has a projection head of two layers or more."""
    return bool(load(name).Method.projection is not Objective.projection)
