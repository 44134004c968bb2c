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
