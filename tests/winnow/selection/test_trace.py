"""trace.parquet: what is written is read, and replayed on the same version only."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from winnow.selection.trace import FLOATS, read_trace, replayed, write_trace

UIDS = [f"{number:032x}" for number in range(10)]


def columns(steps, indices):
    values = {name: np.linspace(0, 1, len(steps), dtype=np.float32) + i for i, name in enumerate(FLOATS)}
    ranks = np.arange(len(steps), dtype=np.int32)
    return {"step": np.array(steps, np.int32), "index": np.array(indices, np.int64), "rank": ranks, **values}


TRAINED = columns([0, 0, 1, 1, 2, 2], [7, 3, 2, 9, 7, 0])
REJECTED = columns([0, 1, 2], [5, 4, 1])
NONE = columns([], [])


def test_rows_come_step_by_step_those_trained_on_first(tmp_path):
    write_trace(tmp_path / "t.parquet", UIDS, TRAINED, REJECTED)
    table = pq.read_table(tmp_path / "t.parquet")
    expected = ["step", "uid", "selected", "rank", *FLOATS]
    assert table.column_names == expected
    assert table["step"].to_pylist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert table["selected"].to_pylist() == [True, True, False] * 3
    assert table["uid"].to_pylist() == [UIDS[i] for i in (7, 3, 5, 2, 9, 4, 7, 0, 1)]


def test_what_was_trained_on_is_read_in_order(tmp_path):
    write_trace(tmp_path / "t.parquet", UIDS, TRAINED, REJECTED)
    trace = read_trace(tmp_path / "t.parquet")
    assert [trace.uids[i] for i in trace.index] == [UIDS[i] for i in TRAINED["index"]]
    assert trace.step.tolist() == TRAINED["step"].tolist()
    assert trace.score.tolist() == TRAINED["score"].tolist()
    assert trace.rejected_score.tolist() == REJECTED["score"].tolist()


@pytest.mark.parametrize("trained", [TRAINED, NONE], ids=["some", "none"])
def test_a_run_that_rejects_nothing_has_a_trace(trained, tmp_path):
    write_trace(tmp_path / "t.parquet", UIDS, trained, NONE)
    trace = read_trace(tmp_path / "t.parquet")
    assert len(trace.index) == len(trained["step"])
    assert len(trace.rejected_score) == 0


def test_a_trace_is_replayed_in_another_order_of_the_same_examples(tmp_path):
    write_trace(tmp_path / "t.parquet", UIDS, TRAINED, REJECTED)
    other = UIDS[::-1]
    assert [other[i] for i in replayed(tmp_path / "t.parquet", other)] == [UIDS[i] for i in TRAINED["index"]]


def test_only_what_was_trained_on_must_be_in_the_version(tmp_path):
    write_trace(tmp_path / "t.parquet", UIDS, TRAINED, REJECTED)
    part = [UIDS[i] for i in (0, 2, 3, 7, 9)]
    assert len(replayed(tmp_path / "t.parquet", part)) == 6
    with pytest.raises(
        ValueError, match=r"1 of its examples are not in this version \(0+7, \.\.\.\); replay"
    ):
        replayed(tmp_path / "t.parquet", [uid for uid in part if uid != UIDS[7]])


@pytest.mark.parametrize("damage", [lambda content: content[:99], lambda _: b""], ids=["half", "empty"])
def test_a_trace_that_cannot_be_read_is_one_line(damage, tmp_path):
    path = tmp_path / "t.parquet"
    with pytest.raises(
        ValueError, match=r"t\.parquet: no readable trace .*; make it with: dvc repro pretrain$"
    ):
        read_trace(path)
    write_trace(path, UIDS, TRAINED, REJECTED)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(
        ValueError, match=r"no readable trace \(.*\); run the arm that `replay_from` names"
    ) as caught:
        replayed(path, UIDS)
    assert "\n" not in str(caught.value)


def test_a_table_that_is_no_trace_is_one_line(tmp_path):
    pq.write_table(pa.table({"uid": UIDS}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet: no readable trace"):
        read_trace(tmp_path / "t.parquet")
