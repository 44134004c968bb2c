"""Select which candidates of a step to train on: score them by a scorer and a reference, then sample.

The learner is not changed by this: scoring runs in eval mode without gradient, on generators of its own, and
the order of candidates does not depend on it.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import samplers
from models.methods import Batch, Losses
from winnow.config.derive import needs_pool_model, scores_now
from winnow.config.schema import Method, Policy
from winnow.loading import sampler
from winnow.loading.examples import Examples
from winnow.loading.views import Images
from winnow.selection.mixture import Mixture
from winnow.selection.policy import UNIFORM, criterion, in_batch, in_parts, score_views, super_batch
from winnow.selection.reference import Online, Reference
from winnow.selection.scorers import Learner
from winnow.training.device import generator
from winnow.training.nonfinite import refuse_nonfinite
from winnow.training.picked import Picked

REJECTED = 8  # one rejected candidate is recorded for each 8 that are trained on


class Selector:
    """Applies one policy.

    Args:
        reference: where the policy needs one; a finished one of the examples of `data`, or an online one.
        scorer: the learner itself by default.
        mixture: of a union with a share for each part; where it is selected from one part, the others are
            trained on whole.

    Raises:
        ValueError: if policy and reference do not fit each other, before anything is computed.
    """

    def __init__(
        self,
        policy: Policy,
        recipe: Method,
        data: Examples,
        reference: Reference | None,
        seed: int,
        scorer: Learner | None = None,
        mixture: Mixture | None = None,
    ) -> None:
        self.policy, self.recipe, self.data, self.seed = policy, recipe, data, seed
        self.criterion = criterion(policy)
        self.reference, self.scorer = reference, scorer or Learner()
        _check_reference(policy, reference)
        # The kind of pairs of the reference's method, which need not be the learner's.
        self.pair = reference.objective.PAIR if reference and reference.objective is not None else ""
        self.batch_size = recipe.batch_size
        self.candidates = super_batch(recipe, policy)
        self.mixture = mixture
        if mixture is None:  # else a part that is too small is drawn more than once
            sampler.epoch_steps(len(data), self.candidates)
        elif mixture.selected is not None:  # but not among candidates, of which each is taken once
            sampler.epoch_steps(len(mixture.members[mixture.selected]), mixture.counts[mixture.selected])

    def indices(self, step: int) -> np.ndarray:
        """The candidates of a step, (B,)."""
        if self.mixture is not None:
            return self.mixture.candidates(step, self.seed)
        return sampler.candidates(step, self.candidates, len(self.data), self.seed)

    @torch.no_grad()
    def pick(
        self, objective: nn.Module, indices: np.ndarray, images: Images, step: int, device: torch.device
    ) -> Picked:
        """Score the candidates (B,) and take the sub-batch (b,)."""
        among, whole = self._parts(indices)
        some, pictures = (indices[among.numpy()], images[among]) if len(whole) else (indices, images)
        batch = self._scoring_batch(some, pictures, step, device)
        learner = self._learner_losses(objective, some, batch)
        reference = self._reference_losses(some, batch, device)
        scores, own, other = self._scores(learner, reference, some, step)
        size = self.batch_size - len(whole)
        if self.policy.sampler == "joint":
            chosen = self._jointly(objective, learner, reference, some, step, size)
        else:
            chosen = self._sample(scores, some, step, size)
        rank = torch.empty(len(scores), dtype=torch.int32)
        best_first = torch.sort(scores, descending=True, stable=True).indices
        rank[best_first] = torch.arange(len(scores), dtype=torch.int32)
        if len(whole):
            known, count = (own, other, scores, rank), len(indices)
            own, other, scores, rank = (_spread(column, among, count) for column in known)

        def picked(rows: Tensor, images: Images | None, rejected: Picked | None) -> Picked:
            reasons = own[rows], other[rows], scores[rows], rank[rows]
            return Picked(indices[rows.numpy()], images, *reasons, rejected)

        rest = among[self._rejected(len(some), chosen, step)]
        rows = torch.cat([among[chosen], whole]).sort().values
        return picked(rows, images[rows], picked(rest, None, None) if len(rest) else None)

    def _parts(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """The rows of the candidates (B,) that are selected from, and of those that are trained on whole."""
        among = torch.arange(len(indices))
        if self.mixture is None or self.mixture.selected is None:
            return among, among[:0]
        chosen_from = torch.from_numpy(np.isin(indices, self.mixture.members[self.mixture.selected]))
        return among[chosen_from], among[~chosen_from]

    def _scoring_batch(
        self, indices: np.ndarray, images: Images, step: int, device: torch.device
    ) -> Batch | None:
        """The views of the candidates that are scored in this step; None where no model scores."""
        if not (scores_now(self.policy) or isinstance(self.reference, Online)):
            return None
        views, noise = score_views(self.recipe, self.policy), generator(self.seed, "score", step)
        return self.data.batch(indices, images, views, noise, device, self.policy.patch_size)

    def _learner_losses(
        self, objective: nn.Module, indices: np.ndarray, batch: Batch | None
    ) -> Losses | None:
        """The losses of the candidates by the scorer, or by the pool model in the learner's place."""
        if scores_now(self.policy):
            assert batch is not None
            return self.scorer.losses(objective, batch)
        if needs_pool_model(self.policy):
            assert self.reference is not None
            assert self.reference.pool_model_losses is not None
            return Losses(self.reference.pool_model_losses[torch.from_numpy(indices)])
        return None

    def _reference_losses(
        self, indices: np.ndarray, batch: Batch | None, device: torch.device
    ) -> Losses | None:
        """The losses of the candidates by the reference, where the policy has one."""
        if self.reference is None:
            return None
        pairs = self.policy.sampler == "joint" and "reference" in self.criterion.NEEDS
        return self.reference.losses(indices, batch, device, pairs, in_batch(self.policy, self.pair))

    def _scores(
        self, learner: Losses | None, reference: Losses | None, indices: np.ndarray, step: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, learner losses and reference losses, (B,) each, NaN where there are none."""
        unknown = torch.full((len(indices),), torch.nan)
        own = unknown if learner is None else learner.example
        other = unknown if reference is None else reference.example
        asks_norm = "gradient_norm" in self.criterion.NEEDS
        scores = self.criterion.score(self._norm(learner) if asks_norm else own, other)
        columns = {"learner_loss": own, "reference_loss": other, "score": scores}
        self._refuse_nonfinite(scores, indices, step, columns)
        return scores, own, other

    @staticmethod
    def _norm(losses: Losses | None) -> Tensor:
        if losses is None or losses.gradient_norm is None:
            needs = "criterion gradient_norm needs a method with a classifier, such as supervised"
            raise ValueError(f"policies: {needs}")
        return losses.gradient_norm

    def _sample(self, scores: Tensor, indices: np.ndarray, step: int, size: int) -> Tensor:
        classes = self.data.labels[torch.from_numpy(indices)] if self.policy.per_class else None
        if self.policy.sampler == "softmax":
            scaled = self.policy.inverse_temperature * scores
            return samplers.softmax(scaled, size, generator(self.seed, "sample", step), classes)
        return samplers.top_k(scores, size, classes)

    def _jointly(
        self,
        objective: nn.Module,
        learner: Losses | None,
        reference: Losses | None,
        indices: np.ndarray,
        step: int,
        size: int,
    ) -> Tensor:
        own = None if learner is None else learner.pair
        other = reference.pair if reference and "reference" in self.criterion.NEEDS else None
        try:
            return self._joint(objective, own, other, step, size)
        except ValueError:  # the sampler found pairs that are not finite; only this module can name examples
            for name, pairs in (("learner_pairs", own), ("reference_pairs", other)):
                sums = torch.zeros(len(indices)) if pairs is None else pairs.sum(dim=1).cpu()
                self._refuse_nonfinite(sums, indices, step, {name: sums})
            raise

    def _joint(
        self, objective: nn.Module, own: Tensor | None, other: Tensor | None, step: int, size: int
    ) -> Tensor:
        """The sub-batch by scores of pairs: exact where losses of pairs add up, else approximate."""
        noise, chunks = generator(self.seed, "sample", step), self.policy.chunks
        scale = self.policy.inverse_temperature
        if objective.PAIR == "softmax":
            return samplers.joint_softmax(own, other, size, chunks, noise, scale).cpu()
        known = own if own is not None else other
        assert known is not None
        unknown = known.new_full((1, 1), torch.nan).expand_as(known)
        scores = self.criterion.score(unknown if own is None else own, unknown if other is None else other)
        scaled = scores.mul_(scale) if scale != 1 else scores
        return samplers.joint(scaled, size, chunks, noise).cpu()

    def _rejected(self, candidates: int, chosen: Tensor, step: int) -> Tensor:
        """The rows of a sample of the rejected, for the trace."""
        left = torch.ones(candidates, dtype=torch.bool)
        left[chosen] = False
        rest = left.nonzero().flatten()
        order = torch.randperm(len(rest), generator=generator(self.seed, "rejected", step))
        return rest[order[: self.batch_size // REJECTED]].sort().values

    def _refuse_nonfinite(
        self, scores: Tensor, indices: np.ndarray, step: int, values: dict[str, Tensor]
    ) -> None:
        uids = [self.data.uids[i] for i in indices]
        what = f"step {step}: the scores of {{count}} candidates are"
        refuse_nonfinite(scores, uids, values, what, "lower methods.*.lr")

    def batches(self, picked: Picked, step: int, device: torch.device) -> list[Batch]:
        """The views to train on: one batch, or two parts, the second at the scoring resolution (Flexi-JEST).

        The pairs of a contrastive loss reach across the parts; BatchNorm does not. Candidates come in random
        order, so the first part is a random one.
        """
        assert picked.images is not None
        noise, views = generator(self.seed, "views", step), self.recipe.views
        return in_parts(self.data, picked.indices, picked.images, views, self.policy, noise, device)

    def train_step(self, batches: list[Batch], step: int, device: torch.device) -> None:
        """Train the scorer and an online reference, after the learner's step."""
        self.scorer.train_step(batches, step)
        if self.reference is not None:
            self.reference.train_step(step, device)

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        reference = self.reference.state() if self.reference else {}
        return {"scorer": self.scorer.state(), "reference": reference}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.scorer.restore(state["scorer"])
        if self.reference:
            self.reference.restore(state["reference"])


def _spread(column: Tensor, among: Tensor, count: int) -> Tensor:
    """A column of the rows `among`, as one of all `count` candidates: NaN, or -1, where nothing is known."""
    whole = column.new_full((count,), torch.nan if column.is_floating_point() else -1)
    whole[among] = column
    return whole


def _check_reference(policy: Policy, reference: Reference | None) -> None:
    if "reference" in criterion(policy).NEEDS and reference is None:
        needs = f"criterion {policy.criterion} needs a reference of this method"
        raise ValueError(f"policies: {needs}; see reference.methods")
    lacks = reference is None or isinstance(reference, Online) or reference.pool_model_losses is None
    if needs_pool_model(policy) and lacks:
        needs = f"criterion {policy.criterion} with a frozen scorer needs it"
        raise ValueError(f"reference.pool_model: false, and {needs}; set it to true")


class Replay(Selector):
    """Trains on what another run was trained on, in its order, without scoring.

    Args:
        chosen: (n,), indices into `data`.
    """

    def __init__(self, policy: Policy, recipe: Method, data: Examples, chosen: np.ndarray, seed: int) -> None:
        super().__init__(UNIFORM, recipe, data, None, seed)
        self.policy, self.chosen = policy, chosen
        self.candidates = self.batch_size

    @property
    def steps(self) -> int:
        """How many whole batches the trace holds."""
        return len(self.chosen) // self.batch_size

    def indices(self, step: int) -> np.ndarray:
        return self.chosen[step * self.batch_size : (step + 1) * self.batch_size]
