"""A reference's losses of the candidates: a finished one's are looked up, an online one's computed."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.methods import Batch, Losses, Objective
from winnow.config.schema import Method, Policy
from winnow.loading import sampler
from winnow.loading.examples import Examples
from winnow.selection.policy import in_parts
from winnow.selection.scorers import Proxy, per_example_loss, scored
from winnow.training.device import generator


class Reference:
    """A finished reference's losses on each of the n examples of a version
    (winnow/selection/reference_record.py).

    Args:
        example_losses: (n,), one of each example.
        embeddings: (n, E) and (n, E) of both sides, where the method has pairs, which `objective` computes.
        pool_model_losses: (n,), those of a model like the reference that was trained on the pool itself.
    """

    def __init__(
        self,
        example_losses: Tensor,
        embeddings: tuple[Tensor, Tensor] | None = None,
        objective: Objective | None = None,
        pool_model_losses: Tensor | None = None,
    ) -> None:
        self.example_losses, self.embeddings = example_losses, embeddings
        self.objective, self.pool_model_losses = objective, pool_model_losses

    def among(self, rows: Tensor, count: int) -> "Reference":
        """The same of `count` examples, of which it judged those in `rows` (n,); of the others it knows
        nothing, and their losses are NaN.
        """

        def spread(known: Tensor) -> Tensor:
            whole = known.new_full((count, *known.shape[1:]), torch.nan)
            whole[rows] = known
            return whole

        sides = None if self.embeddings is None else (spread(self.embeddings[0]), spread(self.embeddings[1]))
        by_pool_model = None if self.pool_model_losses is None else spread(self.pool_model_losses)
        return Reference(spread(self.example_losses), sides, self.objective, by_pool_model)

    def losses(
        self, indices: np.ndarray, batch: Batch | None, device: torch.device, pairs: bool, in_batch: bool
    ) -> Losses:
        """Its losses of the candidates `indices` (B,); `batch` is not used.

        Args:
            pairs: whether `Losses.pair` is needed.
            in_batch: compute the losses among these candidates, from the embeddings, instead of taking those
                of the record, which were computed in chunks of another size.
        """
        if in_batch:
            return self._compared(indices, device)
        known = self.example_losses[torch.from_numpy(indices)]
        return Losses(known, self.pairs(indices, device) if pairs else None)

    def train_step(self, step: int, device: torch.device) -> None:
        """Called after the learner's step; a finished reference does nothing."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""

    @torch.no_grad()
    def pairs(self, indices: np.ndarray, device: torch.device) -> Tensor:
        """`Losses.pair` of these examples against one another, (B, B) on `device`.

        Raises:
            ValueError: if the reference has no embeddings.
        """
        objective, first, second = self._embedded(indices, device)
        return objective.pairs(first, second).float()

    @torch.no_grad()
    def _compared(self, indices: np.ndarray, device: torch.device) -> Losses:
        objective, first, second = self._embedded(indices, device)
        losses = objective.compare(first, second)
        return Losses(per_example_loss(objective, losses).float().cpu(), losses.pair)

    def _embedded(self, indices: np.ndarray, device: torch.device) -> tuple[Objective, Tensor, Tensor]:
        if self.embeddings is None or self.objective is None:
            missing = "results/reference: no embeddings there, and selection by pairs needs them"
            raise ValueError(f"{missing}; run: dvc repro -f reference")
        first, second = (side[torch.from_numpy(indices)].to(device).float() for side in self.embeddings)
        return self.objective.to(device), first, second


class Online(Reference):
    """A reference that is trained on trusted examples beside the learner (arXiv 2312.05328).

    It is trained in the same parts as the learner, because it scores low resolutions too where the policy
    does. Nothing has to be finished before the run; each step costs a forward of every candidate and a
    training step.
    """

    def __init__(self, model: Proxy, trusted: Examples, recipe: Method, policy: Policy, seed: int) -> None:
        super().__init__(torch.zeros(0))
        self.model, self.trusted, self.recipe, self.policy, self.seed = model, trusted, recipe, policy, seed
        sampler.epoch_steps(len(trusted), recipe.batch_size)

    def losses(
        self, indices: np.ndarray, batch: Batch | None, device: torch.device, pairs: bool, in_batch: bool
    ) -> Losses:
        """Its present losses of the views in `batch`."""
        assert batch is not None
        return scored(self.model.module, batch)

    def train_step(self, step: int, device: torch.device) -> None:
        """One step on the next trusted examples."""
        indices = sampler.candidates(step, self.recipe.batch_size, len(self.trusted), self.seed)
        images, noise = self.trusted.pixels.get(indices), generator(self.seed, "online", step)
        parts = in_parts(self.trusted, indices, images, self.recipe.views, self.policy, noise, device)
        self.model.train_step(parts, step)

    def state(self) -> dict[str, Any]:
        return self.model.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.model.restore(state)
