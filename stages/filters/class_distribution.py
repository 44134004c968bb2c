"""class_distribution: keep as much of each class as a target prior wants, and no more.

The step by which VITO made video data serve for pretraining: its VideoNet aligns the class distribution of videos with that of
ImageNet (Parthasarathy et al. 2023, arXiv 2210.06433, where a classifier names the classes). Here the classes are the labels that
the pool has, right or wrong; filters that mend labels come before.

Of the target's shares p and the pool's counts n, the version has N = min over classes of n / p rows, rounded to a whole number
a class: the most that has the target's distribution, and the scarcest class decides. `slack` lets scarce classes fall short by
that part of their share: N = min of n / (p (1 - slack)), and a class that has less than p N keeps all of it. Which rows of a
class stay is decided by a hash of (seed, uid), so a smaller version of the same class is part of a larger one.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.data.uids import fraction
from stages.filters import verdicts
from stages.filters._classes import class_names

WITH = ("reference",)


@dataclass
class Config:
    # uniform: the same for every class of the pool; reference: as in the reference version; or class -> share, in any unit
    target: Any = "uniform"
    slack: float = 0.0  # part of its share by which a scarce class may fall short
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.slack < 1:
            raise ValueError(f"slack: {self.slack} is out of range; allowed: 0 to below 1")
        if not isinstance(self.target, dict) and self.target not in ("uniform", "reference"):
            raise ValueError(f"target: {self.target!r} is no distribution; allowed: uniform, reference, or a mapping of class to share")
        shares = self.target.values() if isinstance(self.target, dict) else [1]
        if not all(isinstance(share, int | float) and 0 <= share < float("inf") for share in shares) or not sum(shares):
            raise ValueError(f"target: {self.target!r} has no shares; allowed: numbers of 0 or more, not all of them 0")


def apply(pool: pa.Table, config: Config, reference: pa.Table) -> pa.Table:
    """Reads the columns uid and label; the reasons are no_label and over_represented (of a class with no share: all its rows).

    Raises:
        ValueError: for a class that nobody knows, or that has a share and no rows.
    """
    labels = pool["label"].to_numpy()
    names = class_names(pool)
    have = np.bincount(labels[labels >= 0], minlength=len(names)).tolist()
    if not any(have):
        return verdicts(pool, np.zeros(len(pool), bool), "no_label")
    want = wanted(shares(config.target, names, have, reference), have, names, Fraction(str(config.slack)))
    draw = np.array([fraction(config.seed, "class_distribution", uid) for uid in pool["uid"].to_pylist()])
    keep = np.zeros(len(pool), bool)
    for label, count in enumerate(want):
        rows = np.flatnonzero(labels == label)
        keep[rows[np.argsort(draw[rows], kind="stable")][:count]] = True
    answer = verdicts(pool, keep, "over_represented")
    return answer.set_column(2, "reason", pc.if_else(pa.array(labels < 0), "no_label", answer["reason"].combine_chunks()))


def shares(target: Any, names: list[str], have: list[int], reference: pa.Table) -> list[Fraction]:
    """The share of each class, in any unit, exact so that rounding is."""
    if target == "uniform":
        return [Fraction(count > 0) for count in have]
    if target == "reference":
        labels = reference["label"].to_numpy()
        found = np.bincount(labels[labels >= 0], minlength=len(names))
        if not found.any():
            raise ValueError("target: reference: the reference version has no labels; allowed: uniform, or a mapping of class to share")
        return [Fraction(int(count)) for count in found]
    given = {str(name): share for name, share in target.items()}
    for name in given:
        if name not in names:
            raise ValueError(f"target.{name}: no such class; allowed: {', '.join(names)}")
    return [Fraction(str(given.get(name, 0))) for name in names]


def wanted(shares: list[Fraction], have: list[int], names: list[str], slack: Fraction) -> list[int]:
    """How many rows of each class to keep: its share of the most that all classes can fill, and all of what falls short."""
    for name, share, count in zip(names, shares, have, strict=False):
        if share and not count:
            raise ValueError(f"target.{name}: the class has a share and no rows; leave it out")
    whole = min(count / (share * (1 - slack)) for share, count in zip(shares, have, strict=True) if share)
    return [min(count, int(share * whole + Fraction(1, 2))) for share, count in zip(shares, have, strict=True)]
