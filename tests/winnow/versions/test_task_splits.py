"""The splits of a task set of its own, over tables of keys."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from winnow.config.datasets import Splits
from winnow.versions.rank import lowest, ranks
from winnow.versions.task_splits import task_splits


def keys(count, tested=0, first=0):
    """A table of so many keys, the last `tested` of them of the source's own test split."""
    split = ["train"] * (count - tested) + ["test"] * tested
    return pa.table({"key": [f"{first + row:09d}" for row in range(count)], "split": split})


def sizes(found):
    return {name: len(rows) for name, rows in found.items()}


def expected_sizes(train, tested, splits):
    """How many each split gets by the rule of the module; None where there are too few."""
    test = splits.test if splits.test is not None else tested or round(train / 5)
    left = train if tested else train - test
    val = splits.val if splits.val is not None else round(left / 10)
    probe = splits.probe if splits.probe is not None else left - val
    enough = test <= (tested or train) and val <= left and probe <= left - val
    enough = enough and (test > 0 or splits.test == 0) and (probe > 0 or splits.probe == 0)
    return {"test": test, "val": val, "probe": probe} if enough else None


numbers = st.none() | st.integers(0, 40)


@settings(deadline=None, max_examples=50)
@given(
    st.integers(10, 60), st.integers(0, 40), st.builds(Splits, numbers, numbers, numbers), st.integers(0, 9)
)
def test_splits_are_disjoint_and_as_large_as_was_asked(train, tested, splits, seed):
    table, expected = keys(train + tested, tested), expected_sizes(train, tested, splits)
    if expected is None:
        with pytest.raises(
            ValueError, match=r"^datasets.tasks.birds.splits.\w+: (\d+ is more than|none of) the"
        ):
            task_splits(table, splits, "birds", seed)
        return
    found = task_splits(table, splits, "birds", seed)
    assert sizes(found) == expected
    together = np.concatenate(list(found.values()))
    assert len(together) == len(set(together.tolist()))
    if tested:
        own_test = set(range(train, train + tested))
        assert set(found["test"].tolist()) <= own_test
        assert not set(found["val"].tolist() + found["probe"].tolist()) & own_test


def test_a_set_too_small_for_its_shares_is_one_line():
    """A fifth of two images is none, and nothing can be measured on none."""
    with pytest.raises(ValueError, match="^datasets.tasks.birds.*test"):
        task_splits(keys(2), Splits(), "birds", 0)


@pytest.mark.parametrize(
    ("tested", "splits", "expected"),
    [
        # a fifth of 100 is test, a tenth of the other 80 val
        (0, Splits(), {"test": 20, "val": 8, "probe": 72}),
        # the source's own 30 are test, a tenth of the other 70 val
        (30, Splits(), {"test": 30, "val": 7, "probe": 63}),
        (30, Splits(probe=10), {"test": 30, "val": 7, "probe": 10}),
        (30, Splits(val=1, test=5), {"test": 5, "val": 1, "probe": 69}),
        (0, Splits(test=50), {"test": 50, "val": 5, "probe": 45}),
        (0, Splits(probe=1, val=2, test=3), {"test": 3, "val": 2, "probe": 1}),
        (0, Splits(val=0), {"test": 20, "val": 0, "probe": 80}),
    ],
)
def test_without_a_number_a_split_is_a_share(tested, splits, expected):
    assert sizes(task_splits(keys(100, tested), splits, "birds", 0)) == expected


@pytest.mark.parametrize(
    ("tested", "splits", "line"),
    [
        (30, Splits(test=31), "test: 31 is more than the 30 images left; lower it"),
        (0, Splits(test=101), "test: 101 is more than the 100 images left; lower it"),
        (30, Splits(val=71), "val: 71 is more than the 70 images left; lower it"),
        (30, Splits(val=10, probe=61), "probe: 61 is more than the 60 images left; lower it"),
    ],
)
def test_more_than_there_are_is_one_line(tested, splits, line):
    with pytest.raises(ValueError, match=f"^datasets.tasks.birds.splits.{line}$"):
        task_splits(keys(100, tested), splits, "birds", 0)


def test_seed_and_key_alone_draw_the_splits():
    table = keys(100)
    named = table["key"].to_numpy(zero_copy_only=False)

    def drawn(table, seed):
        held = table["key"].to_numpy(zero_copy_only=False)
        return {name: set(held[rows]) for name, rows in task_splits(table, Splits(), "birds", seed).items()}

    reverse = table.take(pa.array(np.arange(100)[::-1].copy()))
    assert drawn(table, 0) == drawn(reverse, 0)
    assert drawn(table, 0)["test"] != drawn(table, 1)["test"]
    assert set(named) == set.union(*drawn(table, 0).values())


def test_a_rank_is_that_of_the_key_whatever_stands_beside_it():
    """Adding rows moves no other: the lowest of more keys are those of fewer, and new ones."""
    few, many = ranks(keys(50), 3), ranks(keys(90), 3)
    assert many[:50].tolist() == few.tolist()
    assert ranks(keys(50, first=7), 3)[:43].tolist() == few[7:].tolist()
    assert len(set(many.tolist())) == 90
    rows = np.arange(10, 50)
    assert lowest(rows, few, 5).tolist() == sorted(rows.tolist(), key=lambda row: few[row])[:5]
