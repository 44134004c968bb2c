"""Readings during training: when, of what, what they cost; and they do not change the run."""

import itertools
import json
from dataclasses import replace

import pytest
import torch

from models.flops import count
from tests.loops import BATCH, weights
from winnow.config.derived import ReadingPaths
from winnow.config.schema import Arm
from winnow.evaluation.curve import read_curve
from winnow.evaluation.features import features, knn_top1
from winnow.evaluation.readings import Readings
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.selection.build import Charge, Selection
from winnow.selection.cost import StepFlops
from winnow.training.pace import UntilSpent

SET = "held_out"
SIZES = {"probe": 80, "val": 40, "test": 30}
PAYS = StepFlops(score=30, train=70)
LABELLED = {"step", "flops", "examples_seen", "loss", "val_top1"}
RETRIEVAL = {"i2t_r1", "i2t_r5", "t2i_r1", "t2i_r5", "zero_shot_top1"}


@pytest.fixture
def read(start, tmp_path):
    """A function: a loop of a method and its readings, in a workspace with splits."""
    workspace = Workspace(tmp_path)
    folder = workspace.dataset("pool", "digits")
    for parent in (folder.parent, workspace.split(SET, "probe").parent):
        parent.mkdir(parents=True)
    folder.symlink_to(start.pool.folder)
    uids, first = sorted({start.pool.index.uid(row) for row in start.rows[200:]}), 0
    for name, size in SIZES.items():
        uid_files.save(workspace.split(SET, name), uids[first : first + size])
        first += size

    def begin(method="supervised", steps=7, evaluations=3, pace=None, **changes):
        loop = start(method=method, steps=pace or steps)
        pretrain = replace(start.params.pretrain, budget=1e9, evaluations=evaluations, **changes)
        params = replace(start.params, pretrain=pretrain)
        selection = Selection(loop.selector, steps, PAYS, Charge(1000, 200), "budget", pace=pace)
        arm = Arm("p", method, "test_resnet")
        made = Readings(params, arm, workspace, loop.fabric, loop.objective, selection, loop.data, tmp_path)
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
    held = readings.held
    bank, val = features(encoder, held.bank, loop.fabric), features(encoder, held.val, loop.fabric)
    top1 = knn_top1(bank, held.bank.labels, val, held.val.labels)
    assert state.watched["curve"][-1]["val_top1"] == round(top1, 6)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "siglip"])
def test_readings_do_not_change_the_run(read, method):
    (watched, readings), (alone, _) = read(method), read(method)
    watched.run(readings.watch)
    alone.run()
    assert weights(watched.objective) == weights(alone.objective)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["simclr", "supervised", "siglip"])
def test_readings_cost_what_they_run(read, method):
    """By hand: features of bank and val; the classifier's logits of val; with captions both towers on val and
    on the names of the classes.
    """
    loop, readings = read(method)
    objective, held = loop.objective, readings.held
    each = count(objective.exported(), (3, 28, 28)).forward
    features, names = 3 * each * (SIZES["probe"] + SIZES["val"]), len(held.names)
    if method == "siglip":
        text = count(objective.text, (objective.config.context,), dtypes=[torch.long]).forward
        pair = each + text + 2 * objective.head.weight.numel()
        more = pair * 3 * (SIZES["val"] + names)
    else:
        head = 2 * objective.head.weight.numel() if method == "supervised" else 0
        more = 3 * SIZES["val"] * (each + head) if method == "supervised" else 0
    assert readings.flops == features + more


def test_there_are_no_more_readings_than_steps(read):
    loop, readings = read(steps=2, evaluations=10)
    assert readings.due == {1, 2}
    assert [row["step"] for row in loop.run(readings.watch).watched["curve"]] == [1, 2]


@pytest.mark.parametrize(("stranger", "known"), [(False, True), (True, False)])
def test_a_classifier_is_read_by_the_names_of_the_classes(read, start, tmp_path, stranger, known):
    """Of a set whose classes are in the reverse order; not at all where one is no class of the learner's."""
    names = [*start.pool.classes[:-1], "a stranger"] if stranger else start.pool.classes
    folder = Workspace(tmp_path).dataset("pool", "digits")
    folder.unlink()
    folder.mkdir()
    for part in ("shards", "index.parquet"):
        (folder / part).symlink_to(start.pool.folder / part)
    (folder / "classes.json").write_text(json.dumps(names[::-1]))
    held = read()[1].held
    assert (held.known is not None) == known
    if known:
        assert held.known.tolist() == [len(names) - 1 - label for label in held.val.labels.tolist()]


def test_without_a_task_set_the_loss_is_all_that_is_read(read, tmp_path):
    loop, readings = read(steps=2, dvc=ReadingPaths())
    loop.run(readings.watch)
    assert all(set(row) == LABELLED - {"val_top1"} for row in read_curve(tmp_path / "curve.csv"))
    assert readings.flops == 0


def test_readings_are_spread_over_a_budget_of_time_and_the_last_is_after_the_last_step(read):
    """Steps of 1 s, of 10 s: readings when a third, two thirds and all are spent."""
    ticks = itertools.count()
    pace = UntilSpent({"seconds": 10.0}, lambda: {"seconds": float(next(ticks))})
    loop, readings = read(evaluations=3, pace=pace)
    state = loop.run(readings.watch)
    assert [row["step"] for row in state.watched["curve"]] == [4, 7, 10]
