"""The splits of a task set that has a source of its own: test to measure on, probe to train classifiers on,
val to choose between them.

    test    the source's own test split, or a fifth of the images where it has none
    val     a tenth of the others
    probe   all that is left

Numbers in `datasets.tasks.NAME.splits` take as many instead, drawn by a hash of the key; what is left over is
in no split.
"""

import numpy as np
import pyarrow as pa

from winnow.config.datasets import Splits
from winnow.config.schema import TASKS
from winnow.versions.rank import ranks

SHARES = {"test": 0.2, "val": 0.1}  # of the images that are there, where there is no number


def task_splits(table: pa.Table, splits: Splits, name: str, seed: int) -> dict[str, np.ndarray]:
    """The rows of test, val and probe, disjoint, of a task set's index.

    Raises:
        ValueError: if a split needs more images than there are, or one that is read is left without any.
    """
    own_test = table["split"].to_numpy(zero_copy_only=False) == "test"
    order = np.argsort(ranks(table, seed), kind="stable")
    tested, rest = order[own_test[order]], order[~own_test[order]]
    if not len(tested):
        count = _count(splits.test, SHARES["test"], len(order))
        _require(name, "test", count, len(rest))
        tested, rest = rest[:count], rest[count:]
    found = {"test": tested}
    if splits.test is not None:
        _require(name, "test", splits.test, len(tested))
        found["test"] = tested[: splits.test]
    count = _count(splits.val, SHARES["val"], len(rest))
    _require(name, "val", count, len(rest))
    found["val"], rest = rest[:count], rest[count:]
    count = len(rest) if splits.probe is None else splits.probe
    _require(name, "probe", count, len(rest))
    found["probe"] = rest[:count]
    for split in ("test", "probe"):
        if not len(found[split]) and getattr(splits, split) is None:
            key = f"datasets.{TASKS}.{name}.splits.{split}"
            raise ValueError(f"{key}: none of the {len(table)} images is left for it; give more images")
    return found


def _count(given: int | None, share: float, available: int) -> int:
    return round(share * available) if given is None else given


def _require(name: str, split: str, count: int, available: int) -> None:
    if count > available:
        key = f"datasets.{TASKS}.{name}.splits.{split}"
        raise ValueError(f"{key}: {count} is more than the {available} images left; lower it")
