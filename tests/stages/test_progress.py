"""What a person is told: stage k of n, from the DAG, without importing DVC."""

import pytest

from stages import progress
from stages.params import load


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("WINNOW_EXECUTION", "test")
    monkeypatch.setattr(progress, "TIMINGS", tmp_path / ".winnow/seconds.json")
    graph = progress._graph()
    monkeypatch.setattr(progress, "ROOT", tmp_path)
    monkeypatch.setattr(progress, "_graph", lambda: graph)


def test_downstream_of_one_arm_is_its_tasks_and_the_comparison():
    assert progress.downstream("pretrain@supervised-hard") == {
        "pretrain@supervised-hard",
        "linear_probe@supervised-hard",
        "semi_supervised@supervised-hard",
        "detection@supervised-hard",
        "compare",
    }
    assert progress.downstream("ingest") == set(progress.stage_names())


def test_k_of_n_counts_what_this_execution_still_has_to_do(elsewhere, capsys):
    params = load()
    progress.announce("pretrain@supervised-hard", params)
    progress.done("pretrain@supervised-hard", 4.0)
    progress.announce("linear_probe@supervised-hard", params)
    out = capsys.readouterr().out
    assert "[1/5] pretrain@supervised-hard: about" in out
    assert "[2/5] linear_probe@supervised-hard: about" in out
    typical = params.typical_seconds
    left = typical["linear_probe"] + typical["semi_supervised"] + typical["detection"] + typical["compare"]
    assert progress._clock(left) in out.splitlines()[-1]


def test_no_bar_where_nobody_watches(capsys):
    assert list(progress.track(range(3), description="x")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.err == captured.out == ""


def test_without_a_terminal_a_line_tells_counts_rate_and_time_left():
    """410 items a second: 12,031 of 110,431 took 29.34 s, so the other 98,400 take 240 s."""
    line = progress.line("ingest", "12,000 stored, 31 dropped", 12_031, 12_031 / 410, 98_400)
    assert line == "ingest: 12,000 stored, 31 dropped, 410/s, about 4 min left"
    assert progress.line("x", "3 done", 3, 2.0, None) == "x: 3 done, 1.5/s"
    assert progress.line("x", "3 done", 3, 2.0, 0) == "x: 3 done, 1.5/s"


def test_lines_come_as_often_as_they_should(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    assert list(progress.track("abc", total=5, description="x", done=2)) == ["a", "b", "c"]
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["x: 3 done", "x: 4 done", "x: 5 done"]
    assert "left" in lines[0]
    assert "left" not in lines[2]


def test_the_bar_of_a_terminal_tells_the_same(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    stored = iter(range(1, 9))
    assert list(progress.track("abc", total=8, description="ingest", done=5, told=lambda: f"{next(stored)} stored")) == ["a", "b", "c"]
    assert "ingest" in capsys.readouterr().err
