"""What each arm trained on, against the record of the pollution. Expected shares are counted by hand from conftest.py."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from stages.report import dirt
from stages.report.files import Trace, trace


def test_shares_of_pool_and_arms(world):
    found = dirt.read(world.params, world.pool, world.root)
    assert found.kinds == ("noise", "wrong_label")  # one row each: in the order of their names
    assert found.pool == {"noise": 0.2, "wrong_label": 0.2}  # rows 3 and 2 of the five in the version
    assert found.arms["plain"] == {"noise": 1 / 8, "wrong_label": 1 / 8}
    assert found.arms["chosen"] == {"noise": 0.0, "wrong_label": 1 / 4}
    assert (found.total("plain"), found.total("chosen"), found.in_pool) == (0.25, 0.25, 0.4)


def test_a_uid_has_the_dirt_of_its_first_row(world):
    """Row 5 is an exact duplicate of the clean row 0 and has its uid, so training on that uid is training on row 0."""
    assert world.uids[5] == world.uids[0]
    found = dirt.read(world.params, world.pool, world.root)
    assert found.rows.tolist() == [None, None, "wrong_label", "noise", None, "exact_duplicate", "near_duplicate", None]
    assert "exact_duplicate" not in found.kinds


def test_course_has_a_share_for_each_part_of_the_steps(world):
    found = dirt.read(world.params, world.pool, world.root)
    assert found.course["plain"].tolist() == [0.5, 0.0]  # two steps are two parts
    assert found.course["chosen"].tolist() == [0.5, 0.0]


def test_course_joins_steps_into_bins():
    kinds = np.array([None, "noise", "noise", None, "noise", None], dtype=object)
    what = Trace([], np.zeros(6, np.int64), np.arange(6), np.zeros(6))
    assert dirt.over_training(kinds, what, bins=3).tolist() == [0.5, 0.5, 0.5]
    assert dirt.over_training(kinds, what, bins=2).tolist() == pytest.approx([2 / 3, 1 / 3])


def test_a_pool_that_nobody_polluted_has_no_kinds(world):
    path = world.root / "data/pool/dirt.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    found = dirt.read(world.params, world.pool, world.root)
    assert found.kinds == ()
    assert (found.total("plain"), found.in_pool) == (0, 0)


def test_a_trace_is_read_in_its_order(world):
    what = trace(world.root, "chosen")
    assert [what.uids[i] for i in what.index] == [world.uids[row] for row in (0, 2, 1, 4)]
    assert (what.step.tolist(), what.score.tolist()) == ([0, 0, 1, 1], [1.0, 3.0, 0.5, 2.0])


def test_a_missing_trace_is_named(world):
    (world.root / "results/pretrain/plain/trace.parquet").unlink()
    with pytest.raises(ValueError, match=r"plain/trace.parquet.*dvc repro pretrain@plain"):
        dirt.read(world.params, world.pool, world.root)
