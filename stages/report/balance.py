"""Which classes a policy prefers: the share of each class among what an arm trained on, beside that of the pool version.

Labels are those that the pool gives, the wrong ones included, for that is what a policy sees.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.params import ROOT, Params
from stages.report.files import trace

MOST = 20  # classes that are shown, the commonest of the pool


@dataclass(frozen=True)
class Balance:
    """`pool` (C,) and each of `arms` (C,): shares of one of the classes `names`; empty where no example has a label."""

    names: list[str]
    pool: np.ndarray
    arms: dict[str, np.ndarray]


def read(params: Params, pool: Pool, root: Path = ROOT) -> Balance:
    """Join every arm's trace with the pool's labels."""
    labels = pool.table["label"].to_numpy().astype(np.int64)
    version = _shares(labels[pool.rows(uid_files.load(root / "data/versions/pool/uids.npy"))], len(pool.classes))
    shown = np.sort(np.argsort(-version, kind="stable")[:MOST])
    shown = shown[version[shown] > 0] if len(version) else shown
    arms = {}
    for arm in params.arms:
        what = trace(root, arm)
        own = labels[pool.rows(what.uids)] if what.uids else labels[:0]
        arms[arm] = _shares(own[what.index], len(pool.classes))[shown]
    return Balance([pool.classes[i] for i in shown], version[shown], arms)


def _shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """Labels (n,), -1 where there is none -> (classes,)."""
    return np.bincount(labels[labels >= 0], minlength=classes) / max(len(labels), 1)
