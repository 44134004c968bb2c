"""One file per pretraining objective: a `Config` dataclass and a class `Method(Objective)`.

The loop knows only this page: it builds the views that the recipe names, calls the method, takes the mean of `Losses.example`
outside, and calls `after_step`. Selection scores are losses, which is why every method returns one a example.
"""

import importlib
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from models.encoders import at_patch


@dataclass
class Batch:
    """Views of B examples: name of the view -> its draws, each (B, 3, S, S); labels (B,) int64; tokens (B, L) int64 or None.

    `patch` is the side in pixels of the patches that a vision transformer cuts these views into; None leaves it its own.
    """

    views: dict[str, list[Tensor]]
    labels: Tensor
    tokens: Tensor | None = None
    patch: int | None = None


@dataclass
class Losses:
    """`example` (B,), each example's own loss; `pair` (B, B) for contrastive methods, image i against text or view j.

    `gradient_norm` (B,), for a method with a classifier: the norm of the loss's gradient by the logits, without a graph.
    """

    example: Tensor
    pair: Tensor | None = None
    gradient_norm: Tensor | None = None


class Objective(nn.Module):
    """A pretraining objective around an encoder. In eval mode a forward changes nothing, buffers included.

    A method with pairs writes `embed`, `compare` and `pairs`, any other one `losses`.
    """

    NEEDS: ClassVar[frozenset[str]] = frozenset()  # of {"labels", "captions"}
    VIEWS: ClassVar[dict[str, tuple[int, int]]] = {"image": (1, 1)}  # name of a view -> least and most draws
    # What `Losses.pair` holds: "sigmoid", losses of pairs that add up to the batch's; "softmax", logits; "", nothing.
    PAIR: ClassVar[str] = ""
    encoder: nn.Module

    def forward(self, *parts: Batch) -> Losses:
        """The losses of a batch, whole or in parts whose views differ in size. Pairs reach across parts; BatchNorm does not."""
        if not self.PAIR:
            return _joined([self._within(part, self.losses) for part in parts])
        sides = [self._within(part, self.embed) for part in parts]
        return self.compare(torch.cat([first for first, _ in sides]), torch.cat([second for _, second in sides]))

    def _within(self, part: Batch, what: Any) -> Any:
        with at_patch(self, part.patch):
            return what(part)

    def losses(self, batch: Batch) -> Losses:
        """Without pairs: the loss of each example of a batch."""
        raise NotImplementedError

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """With pairs: the unit-norm embeddings (B, E) of both sides, from which `pairs` makes `Losses.pair`."""
        raise NotImplementedError

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        """With pairs: the losses of embeddings (B, E) and (B, E)."""
        raise NotImplementedError

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """With pairs: embeddings (B, E) and (C, E) -> (B, C) as in `Losses.pair`; a pair's own is on the diagonal."""
        raise NotImplementedError

    def exported(self) -> nn.Module:
        """The encoder that is saved and evaluated."""
        return self.encoder

    def classify(self, images: Tensor) -> Tensor | None:
        """Logits (B, classes) of plain images (B, 3, S, S), where the method itself has a classifier; else None."""
        return None

    def after_step(self, progress: float) -> None:
        """Called after each optimiser step with the fraction of training done, in (0, 1]."""


def _joined(parts: list[Losses]) -> Losses:
    if len(parts) == 1:
        return parts[0]
    norms = [part.gradient_norm for part in parts if part.gradient_norm is not None]
    return Losses(torch.cat([part.example for part in parts]), gradient_norm=torch.cat(norms) if norms else None)


def load(name: str) -> Any:
    """The module of a method: `.Config` and `.Method`. Found by its file name, which is its key in params.yaml."""
    return importlib.import_module(f"models.methods.{name}")
