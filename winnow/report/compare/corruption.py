"""How much of the pool's planted corruption each arm trained on.

An example is as corrupted as the row of the pool's index that its uid leads to: the uid of an exact duplicate
leads to the clean original. An example that was trained on twice counts twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from winnow.config.schema import POOL
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.pool.corruption import kinds_of_rows
from winnow.pool.pool import Pool
from winnow.report.compare.groups import Group, mean_arrays, mean_shares
from winnow.selection.trace import Trace

BINS = 20


@dataclass(frozen=True)
class CorruptionShares:
    """Shares of one: `pool` and each of `arms` map every kind to its share among the pool version's examples,
    or among those that the arm trained on; `course` (bins,) is an arm's share of all kinds in the course of
    its training.

    `kinds` are those in the pool version or in a trace, the pool's most frequent first. `rows` holds the kind
    of each row of the pool's index, None where it is clean.
    """

    kinds: tuple[str, ...]
    pool: dict[str, float]
    arms: dict[str, dict[str, float]]
    course: dict[str, np.ndarray]
    rows: np.ndarray

    def total(self, arm: str) -> float:
        """The corrupted share of what an arm trained on."""
        return sum(self.arms[arm].values())

    def of(self, groups: Sequence[Group]) -> "CorruptionShares":
        """The means of each group's arms, in place of the arms."""
        arms, course = mean_shares(groups, self.arms), mean_arrays(groups, self.course)
        return replace(self, arms=arms, course=course)

    @property
    def in_pool(self) -> float:
        """The corrupted share of the pool version."""
        return sum(self.pool.values())


def read(pool: Pool, workspace: Workspace, traces: Mapping[str, Trace]) -> CorruptionShares:
    """Join every arm's trace with the record of the corruption."""
    rows = kinds_of_rows(pool)
    version = rows[pool.rows(uid_files.load(workspace.uids(POOL)))]
    trained = {arm: rows[pool.rows(trace.uids)][trace.index] for arm, trace in traces.items()}
    names = {kind for each in (version, *trained.values()) for kind in each if kind is not None}
    kinds = tuple(sorted(names, key=lambda kind: (-np.count_nonzero(version == kind), kind)))
    arms = {arm: shares(found, kinds) for arm, found in trained.items()}
    course = {arm: over_training(found, traces[arm].step) for arm, found in trained.items()}
    return CorruptionShares(kinds, shares(version, kinds), arms, course, rows)


def shares(corruption: np.ndarray, kinds: tuple[str, ...]) -> dict[str, float]:
    """The share of each kind among examples with these kinds (n,), None where they are clean."""
    return {kind: float(np.count_nonzero(corruption == kind)) / max(len(corruption), 1) for kind in kinds}


def over_training(corruption: np.ndarray, step: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The corrupted share in `bins` equal parts of the steps, or in each step where there are fewer.

    Args:
        corruption: (n,) the kind of each example trained on, None where it is clean.
        step: (n,) the step at which it was.
    """
    if not len(step):
        return np.zeros(0)
    steps = int(step.max()) + 1
    bins = min(bins, steps)
    part = step.astype(np.int64) * bins // steps
    corrupted = np.array([kind is not None for kind in corruption], dtype=np.float64)
    return np.bincount(part, corrupted, bins) / np.maximum(np.bincount(part, minlength=bins), 1)
