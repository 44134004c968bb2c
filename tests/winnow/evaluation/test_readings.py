"""Readings during training: when, of what, what they cost; and they do not change the run."""

from dataclasses import replace

import pytest

from models.flops import count
from tests.loops import BATCH, weights
from winnow.config.schema import Arm, Pretrain
from winnow.evaluation.curve import read_curve
from winnow.evaluation.features import features, knn_top1
from winnow.evaluation.readings import Readings
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.selection.build import Charge, Selection
from winnow.selection.cost import StepFlops

SIZES = {"probe": 80, "val": 40, "test": 30}
PAYS = StepFlops(score=30, train=70)
LABELLED = {"step", "flops", "examples_seen", "loss", "val_top1"}
RETRIEVAL = {"i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5", "zero_shot_top1"}


@pytest.fixture
def read(start, tmp_path):
    """A function: a loop of a method and its readings, in a workspace with splits."""
    workspace = Workspace(tmp_path)
    workspace.split("probe").parent.mkdir(parents=True)
    uids, first = sorted({start.pool.index.uid(row) for row in start.rows[200:]}), 0
    for name, size in SIZES.items():
        uid_files.save(workspace.split(name), uids[first : first + size])
        first += size

    def begin(method="supervised", steps=7, evaluations=3):
        loop = start(method=method, steps=steps)
        params = replace(start.params, pretrain=Pretrain(1e9, evaluations=evaluations))
        selection = Selection(loop.selector, steps, PAYS, Charge(1000, 200), "budget")
        arm = Arm("p", method, "test_resnet")
        made = Readings(params, arm, workspace, start.pool, loop.fabric, loop.objective, selection, tmp_path)
        return loop, made

    return begin


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "columns"),
    [
        ("supervised", LABELLED | {"classifier_top1"}),
        ("simclr", LABELLED),
        ("dino", LABELLED),
        ("siglip", LABELLED | RETRIEVAL),
    ],
)
def test_every_reading_has_the_columns_of_its_method(read, tmp_path, method, columns):
    loop, readings = read(method)
    state = loop.run(readings.watch)
    rows = read_curve(tmp_path / "curve.csv")
    assert [row["step"] for row in rows] == [2, 5, 7]  # thirds of 7, rounded
    assert rows == state.watched["curve"]
    assert all(set(row) == columns for row in rows)
    assert [row["flops"] for row in rows] == [1200 + 100 * step for step in (2, 5, 7)]
    assert [row["examples_seen"] for row in rows] == [BATCH * step for step in (2, 5, 7)]
    losses = [float(loss.mean()) for loss in state.trace["train_loss"]]
    expected = [sum(losses[a:b]) / (b - a) for a, b in ((0, 2), (2, 5), (5, 7))]
    assert [row["loss"] for row in rows] == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_the_last_reading_is_of_the_weights_that_are_saved(read):
    loop, readings = read("dino")
    state = loop.run(readings.watch)
    encoder = loop.objective.exported()
    bank, val = features(encoder, readings.bank, loop.fabric), features(encoder, readings.val, loop.fabric)
    top1 = knn_top1(bank, readings.bank.labels, val, readings.val.labels)
    assert state.watched["curve"][-1]["val_top1"] == round(top1, 6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "siglip"])
def test_readings_do_not_change_the_run(read, method):
    (watched, readings), (alone, _) = read(method), read(method)
    watched.run(readings.watch)
    readings.last()
    alone.run()
    assert weights(watched.objective) == weights(alone.objective)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "tested"), [("simclr", 0), ("siglip", SIZES["test"])])
def test_each_reading_costs_a_forward_of_bank_and_val(read, method, tested):
    """The bank once, val twice; and, with captions, the test split once at the end."""
    loop, readings = read(method)
    each = count(loop.objective.exported(), (3, 28, 28)).forward
    assert readings.flops == each * (3 * (SIZES["probe"] + 2 * SIZES["val"]) + tested)


def test_there_are_no_more_readings_than_steps(read):
    loop, readings = read(steps=2, evaluations=10)
    assert readings.due == {1, 2}
    assert [row["step"] for row in loop.run(readings.watch).watched["curve"]] == [1, 2]


@pytest.mark.slow
def test_captions_are_read_once_more_from_the_test_split(read):
    loop, readings = read("siglip")
    loop.run(readings.watch)
    last = readings.last()
    assert set(last) == {f"test_{name}" for name in RETRIEVAL} | {"protocol"}
    assert "the 30 test pictures against their own captions" in last["protocol"]
    assert read("simclr")[1].last() == {}
