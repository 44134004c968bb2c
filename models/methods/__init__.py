"""One file per pretraining objective: a `Config` dataclass and a class `Method(Objective)`.

The loop knows only this page: it builds the views that the recipe names, calls the method, takes the mean of `Losses.example`
outside, and calls `after_step`. Selection scores are losses, which is why every method returns one a example.
"""

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn


@dataclass
class Batch:
    """Views of B examples: name of the view -> its draws, each (B, 3, S, S); labels (B,) int64; tokens (B, L) int64 or None."""

    views: dict[str, list[Tensor]]
    labels: Tensor
    tokens: Tensor | None = None


@dataclass
class Losses:
    """`example` (B,), each example's own loss; `pair` (B, B) for contrastive methods, image i against text or view j.

    `gradient_norm` (B,), for a method with a classifier: the norm of the loss's gradient by the logits, without a graph.
    """

    example: Tensor
    pair: Tensor | None = None
    gradient_norm: Tensor | None = None


class Objective(nn.Module):
    """A pretraining objective around an encoder. In eval mode a forward changes nothing, buffers included."""

    NEEDS: ClassVar[frozenset[str]] = frozenset()  # of {"labels", "captions"}
    VIEWS: ClassVar[dict[str, tuple[int, int]]] = {"image": (1, 1)}  # name of a view -> least and most draws
    # What `Losses.pair` holds: "sigmoid", losses of pairs that add up to the batch's; "softmax", logits; "", nothing.
    PAIR: ClassVar[str] = ""
    encoder: nn.Module

    def forward(self, batch: Batch) -> Losses:
        raise NotImplementedError

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Where there are pairs: the unit-norm embeddings (B, E) of both sides, from which `pairs` makes `Losses.pair`."""
        raise NotImplementedError

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        """The losses of embeddings (B, E) and (B, E): what `forward` does after `embed`."""
        raise NotImplementedError

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """Embeddings (B, E) and (C, E) -> (B, C) as in `Losses.pair`; a pair's own is on the diagonal."""
        raise NotImplementedError

    def exported(self) -> nn.Module:
        """The encoder that is saved and evaluated."""
        return self.encoder

    def classify(self, images: Tensor) -> Tensor | None:
        """Logits (B, classes) of plain images (B, 3, S, S), where the method itself has a classifier; else None."""
        return None

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step with the fraction of training done, in (0, 1]."""


def load(name: str) -> Any:
    """The module of a method: `.Config` and `.Method`. Found by its file name, which is its key in params.yaml."""
    return importlib.import_module(f"models.methods.{name}")
