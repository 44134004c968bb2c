"""A union of versions in fixed shares: how many of each part are candidates, and which part is selected from.

Where a policy selects from one part alone (`arms.*.selects_from`), the other parts are trained on whole: they
bring to a super-batch as many as they have in a batch, and are not scored.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from winnow.config.derive import parts
from winnow.config.schema import Arm, Method, Policy
from winnow.loading import sampler
from winnow.selection.policy import super_batch


@dataclass(frozen=True)
class Mixture:
    """`members` are the indices (m,) of each part's examples, `counts` how many of each are candidates of a
    step. `selected` is the number of the part that is selected from; None: all of them are.
    """

    members: Sequence[np.ndarray]
    counts: Sequence[int]
    selected: int | None = None

    def candidates(self, step: int, seed: int) -> np.ndarray:
        """The candidates of a step, (B,)."""
        return sampler.mixture_candidates(step, self.counts, self.members, seed)


def candidate_counts(recipe: Method, policy: Policy, arm: Arm) -> list[int]:
    """How many of each part of the arm's version are candidates of a step."""
    shares, selected = arm.mixture or [1.0], selected_part(arm)
    if selected is None:
        return sampler.counts_of(super_batch(recipe, policy), shares)
    counts = sampler.counts_of(recipe.batch_size, shares)
    counts[selected] = round(counts[selected] / (1 - policy.filter_ratio))
    return counts


def scored_candidates(recipe: Method, policy: Policy, arm: Arm) -> int:
    """How many candidates of a step are scored."""
    counts, selected = candidate_counts(recipe, policy, arm), selected_part(arm)
    return sum(counts) if selected is None else counts[selected]


def selected_part(arm: Arm) -> int | None:
    """The number of the part that the arm selects from; None where it selects from all."""
    return None if arm.selects_from is None else parts(arm.version).index(arm.selects_from)
