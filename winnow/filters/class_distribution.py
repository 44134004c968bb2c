"""class_distribution: keep as much of each class as a target distribution calls for, and no more.

The step by which VITO made video data serve for pretraining: its VideoNet aligns the class distribution of
videos with that of ImageNet (Parthasarathy et al. 2023, arXiv 2210.06433, where a classifier names the
classes). Here the classes are the labels of the pool, right or wrong; put filters that mend labels before it.

With the target's shares p and the pool's counts n, the version has N = min over classes of n / p rows,
rounded to a whole number for each class: the most that has the target's distribution, and the scarcest class
decides. `slack` lets scarce classes fall short by that part of their share: N = min of n / (p (1 - slack)),
and a class that has less than p N keeps all of it. A hash of (seed, uid) decides which rows of a class stay,
so a smaller version of the same class is part of a larger one.
"""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.config.errors import ParamsError
from winnow.filters import verdicts
from winnow.filters._classes import class_names
from winnow.pool.uids import fraction

EXTRA_TABLES = ("reference",)


@dataclass
class Config:
    # uniform: equal shares for every class of the pool; reference: the shares of the reference version; or a
    # mapping of class to share, in any unit
    target: Any = "uniform"
    slack: float = bounded(0.0, 0, below=1)  # part of its share by which a scarce class may fall short
    seed: int = 0

    def check(self, key: str) -> None:
        if not isinstance(self.target, dict):
            if self.target not in ("uniform", "reference"):
                allowed = "uniform, reference, or a mapping of class to share"
                raise ParamsError(f"{key}.target: {self.target!r} is no distribution; allowed: {allowed}")
            return
        shares = self.target.values()
        numbers = all(isinstance(share, int | float) and 0 <= share < float("inf") for share in shares)
        if not numbers or not sum(shares):
            allowed = "numbers of 0 or more, not all of them 0"
            raise ParamsError(f"{key}.target: {self.target!r} has no shares; allowed: {allowed}")


def apply(pool: pa.Table, config: Config, reference: pa.Table) -> pa.Table:
    """Reads the columns uid and label; the reasons are no_label and over_represented (of a class with no
    share: all its rows).

    Raises:
        ValueError: for a class that is unknown, or that has a share and no rows.
    """
    labels, names = pool["label"].to_numpy(), class_names(pool)
    counts = np.bincount(labels[labels >= 0], minlength=len(names)).tolist()
    if not any(counts):
        return verdicts(pool, np.zeros(len(pool), bool), "no_label")
    shares = target_shares(config.target, names, counts, reference)
    kept_counts = target_counts(shares, counts, names, Fraction(str(config.slack)))
    draw = np.array([fraction(config.seed, "class_distribution", uid) for uid in pool["uid"].to_pylist()])
    keep = np.zeros(len(pool), bool)
    for label, count in enumerate(kept_counts):
        rows = np.flatnonzero(labels == label)
        keep[rows[np.argsort(draw[rows], kind="stable")][:count]] = True
    return verdicts(pool, keep, np.where(labels < 0, "no_label", "over_represented"))


def target_shares(target: Any, names: list[str], counts: list[int], reference: pa.Table) -> list[Fraction]:
    """The share of each class, in any unit; exact, so that rounding is."""
    if target == "uniform":
        return [Fraction(count > 0) for count in counts]
    if target == "reference":
        labels = reference["label"].to_numpy()
        found = np.bincount(labels[labels >= 0], minlength=len(names))
        if not found.any():
            allowed = "uniform, or a mapping of class to share"
            raise ValueError(f"target: reference: the reference version has no labels; allowed: {allowed}")
        return [Fraction(int(count)) for count in found]
    given = {str(name): share for name, share in target.items()}
    for name in given:
        if name not in names:
            raise ValueError(f"target.{name}: no such class; allowed: {', '.join(names)}")
    return [Fraction(str(given.get(name, 0))) for name in names]


def target_counts(shares: list[Fraction], counts: list[int], names: list[str], slack: Fraction) -> list[int]:
    """How many rows of each class to keep: its share of the most that all classes can fill, and all of what
    falls short.
    """
    for name, share, count in zip(names, shares, counts, strict=False):
        if share and not count:
            raise ValueError(f"target.{name}: the class has a share and no rows; leave it out")
    pairs = list(zip(shares, counts, strict=True))
    total = min(count / (share * (1 - slack)) for share, count in pairs if share)
    return [min(count, int(share * total + Fraction(1, 2))) for share, count in pairs]
