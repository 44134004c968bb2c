"""Which classes a policy prefers: the share of each in what an arm trained on, and in the pool version.

By the labels that the pool gives, wrong ones included, for that is what a policy sees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from winnow.config.schema import POOL
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool
from winnow.report.compare.groups import Group, mean_arrays
from winnow.selection.trace import Trace

MOST = 20  # classes that are shown


@dataclass(frozen=True)
class Balance:
    """`pool` (C,) and each of `arms` (C,) are shares of one of the classes `names`; empty without labels."""

    names: list[str]
    pool: np.ndarray
    arms: dict[str, np.ndarray]

    def of(self, groups: Sequence[Group]) -> "Balance":
        """The means of each group's arms, in place of the arms."""
        return replace(self, arms=mean_arrays(groups, self.arms))


def read(pool: Pool, workspace: Workspace, traces: Mapping[str, Trace], most: int = MOST) -> Balance:
    """Join every arm's trace with the pool's labels; of the `most` frequent classes of the pool version."""
    labels, classes = pool.table["label"].to_numpy().astype(np.int64), len(pool.classes)
    version = _shares(labels[pool.rows(uid_files.load(workspace.uids(POOL)))], classes)
    shown = np.sort(np.argsort(-version, kind="stable")[:most])
    shown = shown[version[shown] > 0]
    trained = {arm: labels[pool.rows(trace.uids)][trace.index] for arm, trace in traces.items()}
    arms = {arm: _shares(found, classes)[shown] for arm, found in trained.items()}
    return Balance([pool.classes[i] for i in shown], version[shown], arms)


def _shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels (n,), -1 where there is none -> (classes,)."""
    return np.bincount(labels[labels >= 0], minlength=classes) / max(len(labels), 1)
