"""Stage k of n and the time left, which only measurements of this machine may tell."""

import copy
import json

import pytest
import yaml

from winnow.config.compose import composed
from winnow.config.load import parse
from winnow.pipeline import timings as module
from winnow.pipeline.timings import Timings, scaled
from winnow.pipeline.workspace import Workspace

DATASET = "datasets__pool__fashion_mnist"


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with the project's dvc.yaml, three arms with two tasks, and nothing run in it yet."""
    monkeypatch.setenv("WINNOW_EXECUTION", "test")
    project = Workspace.find()
    (tmp_path / "dvc.yaml").write_text((project.root / "dvc.yaml").read_text())
    chosen = ["seeds=1", "budget=4e12", "dataset.tasks=[linear_probe,semi_supervised]"]
    raw = composed([*chosen, "arms=uniform,easy,hard"], project.conf)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw))
    return Workspace(tmp_path)


@pytest.fixture
def done(workspace, monkeypatch):
    """A function: say that a stage ended, after so many seconds, under changed params."""

    def end(address: str, seconds: float, **changes) -> None:
        monkeypatch.setattr(module, "process_seconds", lambda: seconds)
        timings(workspace, **changes).done(address, seconds)

    return end


def timings(workspace, **changes):
    """Of params with the value of some dotted keys replaced, `__` for a dot."""
    raw = copy.deepcopy(yaml.safe_load(workspace.params.read_text()))
    for key, value in changes.items():
        *path, last = key.split("__")
        node = raw
        for part in path:
            node = node[part]
        node[last] = value
    (workspace.root / "params.yaml").write_text(yaml.safe_dump(raw))
    return Timings(workspace, parse(raw))


def test_k_of_n_counts_what_this_execution_still_has_to_do(workspace, done, capsys):
    timings(workspace).announce("pretrain@supervised-hard")
    done("pretrain@supervised-hard", 4.0)
    timings(workspace).announce("linear_probe@supervised-hard.held_out")
    lines = capsys.readouterr().out.splitlines()
    unknown = "time left unknown, for nothing comparable has run on this machine yet"
    assert lines[0] == f"[1/4] pretrain@supervised-hard: {unknown}"
    assert lines[-1] == f"[2/4] linear_probe@supervised-hard.held_out: {unknown}"


def test_what_was_measured_is_told_and_what_was_not_is_called_unknown(workspace, done, capsys, monkeypatch):
    for kind, seconds in (("linear_probe", 20.0), ("semi_supervised", 30.0), ("compare", 10.0)):
        done(f"{kind}@supervised-easy.held_out" if kind != "compare" else kind, seconds)
    monkeypatch.setenv("WINNOW_EXECUTION", "the next")
    timings(workspace).announce("pretrain@supervised-hard")
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == "[1/4] pretrain@supervised-hard: about 60 s left for 3 stages, unknown for 1"


def test_a_budget_scales_the_time_of_an_arm(workspace, done):
    """60 s for 4 TFLOPs are 150 s for 10, whichever policy spends them; another method is another matter."""
    done("pretrain@supervised-uniform", 60.0)
    ten = timings(workspace, pretrain__budget=1e13)
    assert ten.expected("pretrain@supervised-hard") == pytest.approx(150.0)
    assert ten.expected("pretrain@simclr-uniform") is None


def test_two_budgets_tell_what_every_run_pays_from_what_grows(workspace, done):
    """10 s to start and 15 s a TFLOP: a debug run of 0.4 TFLOPs does not make 40 of them take 1,600 s."""
    done("pretrain@supervised-uniform", 16.0, pretrain__budget=4e11)
    done("pretrain@supervised-uniform", 70.0, pretrain__budget=4e12)
    assert timings(workspace, pretrain__budget=4e13).expected("pretrain@supervised-easy") == pytest.approx(
        610.0
    )


@pytest.mark.parametrize(
    ("address", "change"),
    [
        ("ingest@fashion_mnist", {f"{DATASET}__path": "/mine"}),
        ("ingest@fashion_mnist", {f"{DATASET}__limit": 100}),
        ("curate", {"curate__filters": {}}),
        ("pretrain@supervised-easy", {f"{DATASET}__source": "folder"}),
        ("pretrain@supervised-easy", {"backbones__resnet10t__image_size": 224}),
        ("linear_probe@supervised-easy.held_out", {"backbones__resnet10t__image_size": 224}),
        ("reference", {"run__threads": 1}),
    ],
)
def test_other_data_models_or_settings_are_not_comparable(workspace, done, address, change):
    """Was told as if every folder were the last one: 2 minutes for what took 20."""
    done(address, 8.0)
    assert timings(workspace).expected(address) == 8.0
    assert timings(workspace, **change).expected(address) is None


def test_a_sample_of_the_same_data_trains_as_fast(workspace, done):
    done("reference", 30.0, **{f"{DATASET}__limit": 2000}, reference__examples=30_000)
    whole = timings(workspace, **{f"{DATASET}__limit": None}, reference__examples=60_000)
    assert whole.expected("reference") == 60.0


def test_scaling_is_never_negative_and_takes_the_nearest():
    assert scaled([], 3.0) is None
    assert scaled([(1.0, 9.0), (4.0, 8.0)], 8.0) == 16.0  # the larger was faster: noise, not a slope
    assert scaled([(1.0, 10.0), (1.0, 20.0)], 1.0) == 15.0


def test_the_last_part_of_a_stage_that_resumed_is_no_measurement(workspace):
    timings(workspace).done("compare", 5.0, whole=False)
    assert timings(workspace).expected("compare") is None


def test_a_file_of_an_older_version_is_no_error(workspace, done):
    workspace.hidden.mkdir()
    (workspace.hidden / "seconds.json").write_text(json.dumps({"compare": 8.0}))
    assert timings(workspace).expected("compare") is None
    done("compare", 5.0)
    assert timings(workspace).expected("compare") == 5.0
