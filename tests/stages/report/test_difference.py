"""What `winnow trace A B` says, on traces small enough to count by hand."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from stages.cli import main
from stages.report import difference


def write(path, uids, selected, scores):
    path.parent.mkdir(parents=True)
    steps = [i // 2 for i in range(len(uids))]
    columns = {"step": pa.array(steps, pa.int32()), "uid": pa.array(uids).dictionary_encode(), "selected": selected, "score": scores}
    pq.write_table(pa.table({**columns, "learner_loss": scores}), path)
    return path


@pytest.fixture
def traces(tmp_path):
    a = write(tmp_path / "one/trace.parquet", list("aabbcd"), [True] * 5 + [False], [1.0, 3.0, 2.0, 2.0, 2.0, -4.0])
    b = write(tmp_path / "two/trace.parquet", list("ccbe"), [True] * 4, [math.nan] * 4)
    return a, b


def test_a_trace_in_numbers(traces):
    what = difference.read(traces[0])
    assert (what.steps, what.trained, what.often) == (3, 5, {"a": 2, "b": 2, "c": 1})
    assert what.mean_score == (2.0, -4.0)


def test_two_traces_side_by_side(traces):
    lines = difference.compare(*traces)
    assert "both trained on 2 of 4 examples (50.0 %); only A on 1, only B on 1" in lines
    assert any(line.startswith("A prefers (times trained on, A : the other): a (2 : 0), b (2 : 1)") for line in lines)
    assert any(line.startswith("B prefers (times trained on, B : the other): c (2 : 1), e (1 : 0)") for line in lines)


def test_a_trace_equals_itself(traces):
    lines = difference.compare(traces[0], traces[0])
    assert "both trained on 3 of 3 examples (100.0 %); only A on 0, only B on 0" in lines
    assert "rank correlation of how often each example came: 1.000" in lines


def test_the_command_and_its_one_line_of_error(traces, tmp_path):
    good = CliRunner().invoke(main, ["trace", str(traces[0]), str(traces[1])])
    assert good.exit_code == 0
    assert good.output.startswith("A one: 3 steps, 5 examples, 3 distinct")
    bad = CliRunner().invoke(main, ["trace", str(traces[0]), "nobody"])
    assert bad.exit_code == 1
    assert "nobody/trace.parquet: no trace there" in bad.output
    assert bad.output.count("\n") == 1
