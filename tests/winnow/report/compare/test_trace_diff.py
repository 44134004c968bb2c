"""What `winnow trace A B` says, on traces small enough to count by hand."""

import math

import numpy as np
import pytest

from winnow.report.compare import trace_diff
from winnow.selection.trace import FLOATS, read_trace, write_trace

NAN = math.nan


def columns(rows):
    """(step, index, score) of some examples as the columns of a trace."""
    step, index, score = np.array(rows or np.zeros((0, 3))).T
    given = {"step": step.astype(int), "index": index.astype(int), "rank": index.astype(int)}
    return given | {name: np.full(len(step), NAN) for name in FLOATS} | {"score": score}


def write(folder, trained, rejected=()):
    folder.mkdir()
    write_trace(folder / "trace.parquet", list("abcde"), columns(trained), columns(list(rejected)))
    return folder / "trace.parquet"


@pytest.fixture
def traces(tmp_path):
    a = [(0, 0, 1.0), (0, 0, 3.0), (1, 1, 2.0), (1, 1, 2.0), (2, 2, 2.0)]
    b = [(0, 2, NAN), (0, 2, NAN), (1, 1, NAN), (1, 4, NAN)]
    return write(tmp_path / "one", a, [(2, 3, -4.0)]), write(tmp_path / "two", b)


def test_a_trace_in_numbers(traces):
    what = trace_diff.Summary.of(read_trace(traces[0]))
    assert (what.steps, what.trained, what.times) == (3, 5, {"a": 2, "b": 2, "c": 1})
    assert what.mean_scores == (2.0, -4.0)


def test_two_traces_side_by_side(traces):
    first, second, both, _, a, b = trace_diff.compare(*traces)
    assert first.startswith(
        "A one: 3 steps, 5 examples, 3 distinct, each 1.67 times; mean score 2.000, of the"
    )
    assert second == "B two: 2 steps, 4 examples, 3 distinct, each 1.33 times"
    assert both == "both trained on 2 of 4 examples (50.0 %); only A on 1, only B on 1"
    assert a == "A prefers (times trained on, A : the other): a (2 : 0), b (2 : 1)"
    assert b == "B prefers (times trained on, B : the other): c (2 : 1), e (1 : 0)"


def test_a_trace_equals_itself(traces):
    lines = trace_diff.compare(traces[0], traces[0])
    assert "both trained on 3 of 3 examples (100.0 %); only A on 0, only B on 0" in lines
    assert "rank correlation of how often each example was trained on: 1.000" in lines


def test_a_missing_trace_is_named(traces, tmp_path):
    with pytest.raises(ValueError, match=r"nobody/trace.parquet: no readable trace.*dvc repro pretrain"):
        trace_diff.compare(traces[0], tmp_path / "nobody/trace.parquet")
