"""Which candidates are worth training on: scores by a scorer and the reference, then a sampler. The learner is not disturbed:
scoring runs in eval mode without gradient, on generators of its own, and the order of candidates does not depend on it."""

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import samplers
from models.methods import Batch, Losses
from stages.data import order
from stages.params import Method, Policy
from stages.training import unfinite
from stages.training.device import generator
from stages.training.examples import Examples
from stages.training.scorers import Learner, Online, Reference, in_parts, score_views

UNIFORM = Policy(criterion="uniform", sampler="top_k", ratio=0.0)  # what a reference and a finetuning train with
REJECTED = 8  # one rejected candidate is recorded for each 8 that are trained on


@dataclass(frozen=True)
class Picked:
    """The sub-batch: `indices` (b,) into the examples, `images` (b, 3, S, S), and why, each (b,) and NaN where unused.

    `rank` is the place of the score among the B candidates, 0 the highest. `passed` is a sample of the rest, without images.
    """

    indices: np.ndarray
    images: Tensor | None
    learner_loss: Tensor
    reference_loss: Tensor
    score: Tensor
    rank: Tensor
    passed: "Picked | None" = None


class Selector:
    """Applies one policy; `reference` speaks of each example of `data`, or is trained beside the learner, where the policy needs it.

    Raises:
        ValueError: if policy and method do not fit each other, before anything is computed.
    """

    def __init__(
        self, policy: Policy, recipe: Method, data: Examples, reference: Reference | None, seed: int, scorer: Learner | None = None
    ) -> None:
        self.policy, self.recipe, self.data, self.seed = policy, recipe, data, seed
        self.criterion = criterion(policy)
        self.reference, self.scorer = reference, scorer or Learner()
        if "reference" in self.criterion.NEEDS and reference is None:
            raise ValueError(f"policies: criterion {policy.criterion} needs a reference of this method; see reference.methods")
        if needs_twin(policy) and (reference is None or isinstance(reference, Online) or reference.twin is None):
            raise ValueError(f"reference.twin: false, and criterion {policy.criterion} with a frozen scorer needs it; set it to true")
        # What pairs the reference keeps: its method's, which need not be the learner's.
        self.pairs = reference.objective.PAIR if reference is not None and reference.objective is not None else ""
        self.take = recipe.batch_size
        self.candidates = super_batch(recipe, policy)
        order.epoch_steps(len(data), self.candidates)

    def indices(self, step: int) -> np.ndarray:
        """The candidates of a step, (B,)."""
        return order.candidates(step, self.candidates, len(self.data), self.seed)

    @torch.no_grad()
    def pick(self, objective: nn.Module, indices: np.ndarray, images: Tensor, step: int, device: torch.device) -> Picked:
        """Score the candidates (B,) and take the sub-batch (b,)."""
        batch = self._scoring_batch(indices, images, step, device)
        losses, others = self._losses(objective, indices, batch), self._others(indices, batch, device)
        unknown = torch.full((len(indices),), torch.nan)
        own = unknown if losses is None else losses.example
        reference = unknown if others is None else others.example
        scores = self.criterion.score(self._norm(losses) if "gradient_norm" in self.criterion.NEEDS else own, reference)
        self._refuse_unfinite(scores, indices, step, {"learner_loss": own, "reference_loss": reference, "score": scores})
        jointly = self.policy.sampler == "joint"
        chosen = self._jointly(objective, losses, others, indices, step) if jointly else self._sample(scores, step)
        rank = torch.empty(len(scores), dtype=torch.int32)
        rank[torch.sort(scores, descending=True, stable=True).indices] = torch.arange(len(scores), dtype=torch.int32)

        def those(which: Tensor, images: Tensor | None, passed: Picked | None) -> Picked:
            return Picked(indices[which.numpy()], images, own[which], reference[which], scores[which], rank[which], passed)

        passed = self._passed(len(indices), chosen, step)
        return those(chosen, images[chosen], those(passed, None, None) if len(passed) else None)

    def _scoring_batch(self, indices: np.ndarray, images: Tensor, step: int, device: torch.device) -> Batch | None:
        """The candidates as whoever scores now sees them; None where nobody does."""
        if not (scores_now(self.policy) or isinstance(self.reference, Online)):
            return None
        views, noise = score_views(self.recipe, self.policy), generator(self.seed, "score", step)
        return self.data.batch(indices, images, views, noise, device, self.policy.patch)

    def _losses(self, objective: nn.Module, indices: np.ndarray, batch: Batch | None) -> Losses | None:
        """What the learner, or who stands in for it, says of the candidates."""
        if scores_now(self.policy):
            assert batch is not None
            return self.scorer.losses(objective, batch)
        if needs_twin(self.policy):
            assert self.reference is not None
            assert self.reference.twin is not None
            return Losses(self.reference.twin[torch.from_numpy(indices)])
        return None

    def _others(self, indices: np.ndarray, batch: Batch | None, device: torch.device) -> Losses | None:
        """What the reference says of them."""
        if self.reference is None:
            return None
        pairs = self.policy.sampler == "joint" and "reference" in self.criterion.NEEDS
        return self.reference.of(indices, batch, device, pairs, compares(self.policy, self.pairs))

    @staticmethod
    def _norm(losses: Losses | None) -> Tensor:
        if losses is None or losses.gradient_norm is None:
            raise ValueError("policies: criterion gradient_norm needs a method with a classifier, such as supervised")
        return losses.gradient_norm

    def _sample(self, scores: Tensor, step: int) -> Tensor:
        if self.policy.sampler == "softmax":
            return samplers.softmax(self.policy.gain * scores, self.take, generator(self.seed, "sample", step))
        return samplers.top_k(scores, self.take)

    def _jointly(self, objective: nn.Module, losses: Losses | None, others: Losses | None, indices: np.ndarray, step: int) -> Tensor:
        own = None if losses is None else losses.pair
        other = others.pair if others and "reference" in self.criterion.NEEDS else None
        try:
            return self._joint(objective, own, other, step)
        except ValueError:  # the sampler has found what is not finite; whose it is, only this page knows
            for name, pairs in (("learner_pairs", own), ("reference_pairs", other)):
                sums = torch.zeros(len(indices)) if pairs is None else pairs.sum(dim=1).cpu()
                self._refuse_unfinite(sums, indices, step, {name: sums})
            raise

    def _joint(self, objective: nn.Module, own: Tensor | None, other: Tensor | None, step: int) -> Tensor:
        """The sub-batch by the pairs' scores: exact where losses of pairs add up, else the softmax approximation."""
        noise, policy = generator(self.seed, "sample", step), self.policy
        if objective.PAIR == "softmax":
            return samplers.joint_softmax(own, other, self.take, policy.chunks, noise, policy.gain).cpu()
        known = own if own is not None else other
        assert known is not None
        unknown = known.new_full((1, 1), torch.nan).expand_as(known)
        scores = self.criterion.score(unknown if own is None else own, unknown if other is None else other)
        return samplers.joint(scores.mul_(policy.gain) if policy.gain != 1 else scores, self.take, policy.chunks, noise).cpu()

    def _passed(self, candidates: int, chosen: Tensor, step: int) -> Tensor:
        """A sample of the rejected, for the trace."""
        left = torch.ones(candidates, dtype=torch.bool)
        left[chosen] = False
        rest = left.nonzero().flatten()
        draw = torch.randperm(len(rest), generator=generator(self.seed, "rejected", step))[: self.take // REJECTED]
        return rest[draw].sort().values

    def _refuse_unfinite(self, scores: Tensor, indices: np.ndarray, step: int, values: dict[str, Tensor]) -> None:
        uids = [self.data.uids[i] for i in indices]
        unfinite.refuse(scores, uids, values, f"step {step}: the scores of {{count}} candidates are", "lower methods.*.lr")

    def batches(self, picked: Picked, step: int, device: torch.device) -> list[Batch]:
        """The views to train on: one batch, or two halves, the second as coarse as the policy scores (Flexi-JEST).

        The pairs of a contrastive loss reach across the halves; BatchNorm does not. Candidates come in a random order, so the first
        half is as good as any.
        """
        assert picked.images is not None
        views = generator(self.seed, "views", step)
        return in_parts(self.data, picked.indices, picked.images, self.recipe.views, self.policy, views, device)

    def learn(self, batches: list[Batch], step: int, device: torch.device) -> None:
        """What the scorer and an online reference do after the learner's step."""
        self.scorer.learn(batches, step)
        if self.reference is not None:
            self.reference.learn(step, device)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"scorer": self.scorer.state(), "reference": self.reference.state() if self.reference else {}}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.scorer.restore(state["scorer"])
        if self.reference:
            self.reference.restore(state["reference"])


class Replay(Selector):
    """Trains on what another run was trained on, in its order; `chosen` (n,) are indices into `data`. Nothing is scored."""

    def __init__(self, policy: Policy, recipe: Method, data: Examples, chosen: np.ndarray, seed: int) -> None:
        super().__init__(UNIFORM, recipe, data, None, seed)
        self.policy, self.chosen = policy, chosen
        self.candidates = self.take

    @property
    def steps(self) -> int:
        """How many whole batches the trace holds."""
        return len(self.chosen) // self.take

    def indices(self, step: int) -> np.ndarray:
        return self.chosen[step * self.take : (step + 1) * self.take]


def criterion(policy: Policy) -> ModuleType:
    """The module of the policy's criterion: `NEEDS` and `score`."""
    return importlib.import_module(f"models.criteria.{policy.criterion}")


def needs_reference(policy: Policy) -> bool:
    """Whether the policy reads, and pays for, a finished reference of its method."""
    return policy.scorer != "replay" and not policy.online and ("reference" in criterion(policy).NEEDS or needs_twin(policy))


def scores_now(policy: Policy) -> bool:
    """Whether the learner or a proxy looks at every candidate."""
    return policy.scorer in ("learner", "proxy") and "learner" in criterion(policy).NEEDS


def needs_twin(policy: Policy) -> bool:
    """Whether a frozen scorer stands in for the learner."""
    return policy.scorer == "frozen" and "learner" in criterion(policy).NEEDS


def compares(policy: Policy, pairs: str) -> bool:
    """Whether a reference with such pairs (`Objective.PAIR`) is asked for its losses among the very candidates of a step."""
    return pairs == "softmax" and scores_now(policy) and "reference" in criterion(policy).NEEDS


def super_batch(recipe: Method, policy: Policy) -> int:
    """B = b / (1 - f), rounded."""
    return round(recipe.batch_size / (1 - policy.ratio))
