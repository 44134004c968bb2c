"""Which candidates are worth training on: scores by the learner and the reference, then a sampler. The learner is not disturbed:
scoring runs in eval mode without gradient, on generators of its own, and the order of candidates does not depend on it."""

import importlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from models import samplers
from models.methods import Batch
from stages.params import Method, Policy
from stages.training.device import generator
from stages.training.examples import Examples

UNIFORM = Policy(criterion="uniform", sampler="top_k", ratio=0.0)  # what a reference and a finetuning train with


@dataclass(frozen=True)
class Picked:
    """The sub-batch: `indices` (b,) into the examples, `images` (b, 3, S, S), and why: losses and scores (b,), NaN where unused."""

    indices: np.ndarray
    images: Tensor
    learner_loss: Tensor
    reference_loss: Tensor
    score: Tensor


class Selector:
    """Applies one policy. `reference_loss` (n,) holds the frozen reference's loss for each example, where the policy needs it."""

    def __init__(self, policy: Policy, recipe: Method, data: Examples, reference_loss: Tensor | None, seed: int) -> None:
        self.policy, self.recipe, self.data, self.seed = policy, recipe, data, seed
        self.criterion = criterion(policy)
        self.reference_loss = reference_loss
        if "reference" in self.criterion.NEEDS and reference_loss is None:
            raise ValueError(f"policies: criterion {policy.criterion} needs a reference of this method; see reference.methods")
        self.take = recipe.batch_size
        self.candidates = super_batch(recipe, policy)

    @torch.no_grad()
    def pick(self, objective: nn.Module, indices: np.ndarray, images: Tensor, step: int, device: torch.device) -> Picked:
        """Score the candidates (B,) and take the sub-batch (b,)."""
        unknown = torch.full((len(indices),), torch.nan)
        learner = self._learner_loss(objective, indices, images, step, device) if "learner" in self.criterion.NEEDS else unknown
        reference = unknown if self.reference_loss is None else self.reference_loss[torch.from_numpy(indices)]
        scores = self.criterion.score(learner, reference)
        self._refuse_unfinite(scores, indices, step)
        chosen = self._sample(scores, step)
        return Picked(indices[chosen.numpy()], images[chosen], learner[chosen], reference[chosen], scores[chosen])

    def _sample(self, scores: Tensor, step: int) -> Tensor:
        if self.policy.sampler == "softmax":
            return samplers.softmax(scores, self.take, generator(self.seed, "sample", step))
        return samplers.top_k(scores, self.take)

    def _learner_loss(self, objective: nn.Module, indices: np.ndarray, images: Tensor, step: int, device: torch.device) -> Tensor:
        batch = self.data.batch(indices, images, self.recipe.score_views, generator(self.seed, "score", step), device)
        return example_losses(objective, batch)

    def _refuse_unfinite(self, scores: Tensor, indices: np.ndarray, step: int) -> None:
        bad = (~torch.isfinite(scores)).nonzero().flatten().numpy()
        if len(bad):
            uids = ", ".join(self.data.uids[i] for i in indices[bad][:4])
            raise ValueError(f"step {step}: the scores of {len(bad)} candidates are not finite, uids {uids}; lower methods.*.lr")


@torch.no_grad()
def example_losses(objective: nn.Module, batch: Batch) -> Tensor:
    """Losses (B,) in eval mode, as float32 on the CPU; the module is left in the mode it was in."""
    training = objective.training
    objective.eval()
    losses = objective(batch).example.float().cpu()
    objective.train(training)
    return losses


def criterion(policy: Policy) -> ModuleType:
    """The module of the policy's criterion: `NEEDS` and `score`."""
    return importlib.import_module(f"models.criteria.{policy.criterion}")


def super_batch(recipe: Method, policy: Policy) -> int:
    """B = b / (1 - f), rounded."""
    return round(recipe.batch_size / (1 - policy.ratio))
