"""The interface between the training loop and what selects its examples (winnow/selection)."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from models.methods import Batch
from winnow.loading.views import Images


@dataclass(frozen=True)
class Picked:
    """The sub-batch: `indices` (b,) into the examples, their `images`, and what they were selected by.

    Losses, scores and ranks are (b,), NaN where the policy has none, and for examples that are trained on
    whole. `rank` is the place of the score among the candidates that were scored, 0 the highest, and -1 for
    an example that was not. `rejected` is a sample of the rest, without images.
    """

    indices: np.ndarray
    images: Images | None
    learner_loss: Tensor
    reference_loss: Tensor
    score: Tensor
    rank: Tensor
    rejected: "Picked | None" = None


class ExampleSelector(Protocol):
    """Selects what a learner trains on, without changing its state."""

    def indices(self, step: int) -> np.ndarray:
        """The candidates of a step, (B,)."""
        ...

    def pick(
        self, objective: nn.Module, indices: np.ndarray, images: Images, step: int, device: torch.device
    ) -> Picked:
        """Score the candidates (B,) with their images and take the sub-batch (b,)."""
        ...

    def batches(self, picked: Picked, step: int, device: torch.device) -> list[Batch]:
        """The views to train on, in one or more parts."""
        ...

    def train_step(self, batches: list[Batch], step: int, device: torch.device) -> None:
        """Train the models that score, after the learner's step."""
        ...

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        ...
