"""What a person sees: stage k of n, from the DAG, without importing DVC."""

import json

import pytest

from winnow.config.load import load
from winnow.pipeline import progress
from winnow.pipeline.progress import Timings
from winnow.pipeline.workspace import Workspace


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with the project's dvc.yaml and params.yaml, and nothing run in it yet."""
    monkeypatch.setenv("WINNOW_EXECUTION", "test")
    project = Workspace.find()
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_text((project.root / name).read_text())
    return Workspace(tmp_path)


def test_k_of_n_counts_what_this_execution_still_has_to_do(workspace, capsys):
    params = load(workspace.params)
    timings = Timings(workspace, params)
    timings.announce("pretrain@supervised-hard")
    timings.done("pretrain@supervised-hard", 4.0)
    timings.announce("linear_probe@supervised-hard")
    out = capsys.readouterr().out
    assert "[1/5] pretrain@supervised-hard: about" in out
    assert "[2/5] linear_probe@supervised-hard: about" in out
    typical = params.typical_seconds
    left = sum(typical[name] for name in ("linear_probe", "semi_supervised", "detection", "compare"))
    assert f"about {round(left)} s left" in out.splitlines()[-1] or "min left" in out.splitlines()[-1]


def test_timings_of_this_machine_replace_the_typical_ones(workspace, capsys, monkeypatch):
    params = load(workspace.params)
    for seconds in (7.0, 9.0):
        Timings(workspace, params).done("compare", seconds)
    assert json.loads((workspace.hidden / "seconds.json").read_text())["compare"] == 8.0
    monkeypatch.setenv("WINNOW_EXECUTION", "the next")
    Timings(workspace, params).announce("compare")
    assert "about 8 s left" in capsys.readouterr().out


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


def test_the_bar_of_a_terminal_shows_the_same(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    stored = iter(range(1, 9))
    items = progress.track(
        "abc", total=8, description="ingest", done=5, status=lambda: f"{next(stored)} stored"
    )
    assert list(items) == ["a", "b", "c"]
    assert "ingest" in capsys.readouterr().err
