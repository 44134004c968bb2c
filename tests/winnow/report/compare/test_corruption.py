"""What each arm trained on, against the record of the corruption: shares counted by hand from conftest.py."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from winnow.report.compare import corruption
from winnow.report.compare.inputs import trace


def test_shares_of_pool_and_arms(world):
    found = corruption.read(world.pool, world.workspace, world.traces)
    assert found.kinds == ("noise", "wrong_label")  # one row each: in the order of their names
    assert found.pool == {"noise": 0.2, "wrong_label": 0.2}  # rows 3 and 2 of the five in the version
    assert found.arms["plain"] == {"noise": 1 / 8, "wrong_label": 1 / 8}
    assert found.arms["chosen"] == {"noise": 0.0, "wrong_label": 1 / 4}
    assert (found.total("plain"), found.total("chosen"), found.in_pool) == (0.25, 0.25, 0.4)


def test_a_uid_has_the_corruption_of_its_first_row(world):
    """Row 5 duplicates the clean row 0 and shares its uid, so training on that uid is training on row 0."""
    assert world.uids[5] == world.uids[0]
    found = corruption.read(world.pool, world.workspace, world.traces)
    kinds = ["wrong_label", "noise", None, "exact_duplicate", "near_duplicate"]
    assert found.rows.tolist() == [None, None, *kinds, None]
    assert "exact_duplicate" not in found.kinds


def test_course_has_a_share_for_each_part_of_the_steps(world):
    found = corruption.read(world.pool, world.workspace, world.traces)
    assert found.course["plain"].tolist() == [0.5, 0.0]  # two steps are two parts
    assert found.course["chosen"].tolist() == [0.5, 0.0]


def test_course_joins_steps_into_bins():
    kinds = np.array([None, "noise", "noise", None, "noise", None], dtype=object)
    step = np.arange(6)
    assert corruption.over_training(kinds, step, bins=3).tolist() == [0.5, 0.5, 0.5]
    assert corruption.over_training(kinds, step, bins=2).tolist() == pytest.approx([2 / 3, 1 / 3])


def test_a_clean_pool_has_no_kinds(world):
    path = world.record("corruption")
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    found = corruption.read(world.pool, world.workspace, world.traces)
    assert found.kinds == ()
    assert (found.total("plain"), found.in_pool) == (0, 0)


def test_a_missing_trace_is_named(world):
    (world.workspace.arm("plain") / "trace.parquet").unlink()
    with pytest.raises(ValueError, match=r"plain/trace.parquet.*dvc repro pretrain@plain"):
        trace(world.workspace, "plain")


def test_an_arm_that_trained_on_nothing_has_no_corruption(world):
    world.trace("plain", [], [], [])
    found = corruption.read(world.pool, world.workspace, world.traces)
    assert (found.total("plain"), len(found.course["plain"])) == (0, 0)
