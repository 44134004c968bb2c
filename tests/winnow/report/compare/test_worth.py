"""Whether training on was worth it, over the world's rows and a frozen arm beside them."""

import dataclasses

import pytest
import yaml

from winnow.config.load import parse
from winnow.report.compare import energy, table
from winnow.report.compare.columns import MAIN, Column
from winnow.report.compare.courses import training_curves
from winnow.report.compare.look import Look
from winnow.report.compare.markdown import markdown
from winnow.report.compare.verdict import equal, verdict
from winnow.report.compare.worth import unknown_start, worth
from winnow.report.compare.write import write

TOP1 = Column(("held_out",), MAIN, "linear top-1")
FOREIGN = {"path": "vit.pth", "flops": "unknown"}


def rows_of(world, continued, frozen, weights=None):
    plain = table.rows(world.params, world.workspace)[0]
    weights = weights or {"path": "results/pretrain/half", "flops": 500}
    paid = None if weights["flops"] == "unknown" else weights["flops"]
    spent = {"curate": 0, "reference": 0, "weights": paid, "score": 0, "train": 500}

    def row(arm, top1, **more):
        tasks = {"held_out": {**plain["tasks"]["held_out"], "linear_probe.top1": top1}}
        return {**plain, "arm": arm, "tasks": tasks, "flops": {**spent, "total": 1000}, **more}

    whole = row("on", continued, weights=weights)
    still = {**spent, "train": 0, "total": paid or 0}
    untouched = row("still", frozen, weights=weights, frozen=True, examples_seen=0) | {"flops": still}
    return [plain, whole, untouched]


@pytest.mark.parametrize(
    ("continued", "frozen", "expected"),
    [
        (
            0.8,
            0.7,
            "Training on on was worth it: 80.0 % linear-probe top-1 against 70.0 % for the same weights "
            "untouched (still), 10.0 points more (6.",
        ),
        (0.6, 0.7, "Training on on made it worse: 60.0 % linear-probe top-1 against 70.0 % for"),
        (0.705, 0.7, "made no distinguishable difference: 70.5 % linear-probe top-1 against 70.0 %"),
        (0.705, 0.7, "), for 500 FLOPs."),
    ],
)
def test_training_on_beside_the_same_weights_untouched(world, judge, continued, frozen, expected):
    groups, intervals = judge(rows_of(world, continued, frozen))
    assert expected in " ".join(worth(groups, TOP1, intervals))


def test_without_the_control_nobody_knows(world, judge):
    rows = rows_of(world, 0.8, 0.7)[:2]
    groups, intervals = judge(rows)
    assert worth(groups, TOP1, intervals) == [
        "No frozen arm has the weights of on, so whether training on was worth it is unknown."
    ]
    assert worth(groups[:1], TOP1, intervals) == []


def test_flops_of_foreign_weights_are_unknown_and_never_zero(world, judge):
    rows = rows_of(world, 0.8, 0.7, FOREIGN)
    told = "What the weights of on, still cost before is unknown, and in none of these numbers."
    assert unknown_start(rows) == [told]
    groups, intervals = judge(rows)
    text = markdown(groups, {row["arm"]: 0.0 for row in rows}, intervals)
    line = next(line for line in text.splitlines() if line.startswith("| on "))
    assert "1.00 kFLOPs + unknown" in line
    assert "0 + unknown + 0 + 50 %" in line
    assert "everything known counted" in verdict(groups, intervals).spending


def test_an_arm_with_half_of_the_budget_is_no_seed_of_the_other(world, judge):
    """Their mean was called uniform's accuracy."""
    rows = [row for row in rows_of(world, 0.8, 0.7) if "weights" not in row]
    half = {**rows[0], "arm": "half", "budget": 500.0, "tasks": {"held_out": {"linear_probe.top1": 0.1}}}
    text = str(verdict(*judge([*rows, half])))
    assert "only uniform was run: 50.0 % linear-probe top-1" in text


def test_a_frozen_arm_is_no_policy_and_spent_nothing(world, judge):
    rows = rows_of(world, 0.8, 0.9)
    assert table.choice(rows[2]) == "the weights untouched"
    assert equal(rows), "what was frozen spent less, and is compared by `worth` alone"
    groups, intervals = judge(rows)
    text = markdown(groups, {row["arm"]: 0.25 for row in rows}, intervals)
    line = next(line for line in text.splitlines() if line.startswith("| still "))
    assert [cell.strip() for cell in line.split("|")][2] == "the weights untouched"
    assert " – " in line, "nothing was trained on, so no share of it was corrupted"


def test_seeds_that_start_from_arms_of_their_own_are_one_family(world, judge):
    """Each seed has a backbone of its own then: the mean of 80 and 70 %, not one sentence for each."""
    plain = rows_of(world, 0.8, 0.7)[1]
    second = {**plain, "arm": "on-s1", "seed": 1, "backbone": "started-s1"}
    second["tasks"] = {name: {**values, TOP1.metric: 0.7} for name, values in plain["tasks"].items()}
    first = {**plain, "backbone": "started-s0"}
    second["weights"] = {**plain["weights"], "path": "results/pretrain/half-s1"}
    first["weights"] = {**plain["weights"], "path": "results/pretrain/half-s0"}
    text = str(verdict(*judge([first, second])))
    assert "With supervised, only uniform was run: 75.0 % linear-probe top-1." in text
    assert "over 2 seeds or more" in text


def test_without_arms_or_readings_nothing_breaks(world):
    """A frozen arm has no loss, which is the only curve where no task set is read."""
    assert equal([])
    rows = rows_of(world, 0.8, 0.7)[1:]
    reading = {"step": 1.0, "flops": 900.0, "examples_seen": 4.0}
    curves = {"on": [{**reading, "loss": 0.5}], "still": [{**reading, "step": 0.0}]}
    axes = training_curves(rows, curves, Look.of(rows)).axes[0]
    assert [list(line.get_ydata()) for line in axes.lines[:2]] == [[0.5], []]


@pytest.fixture
def started(world, make_arm, cost):
    """The world with an arm that starts from `plain` and one that is the same weights untouched."""
    raw = dataclasses.asdict(world.params)
    raw["backbones"]["started"] = {"name": "test_resnet", "weights": "results/pretrain/plain"}
    raw["arms"]["plain"]["budget_share"] = 0.5
    raw["arms"]["on"] = {"policy": "uniform", "method": "supervised", "backbone": "started"}
    raw["arms"]["still"] = {**raw["arms"]["on"], "frozen": True}
    world.params = parse(raw)
    world.workspace.params.write_text(yaml.safe_dump(dataclasses.asdict(world.params)))
    weights = {"path": "results/pretrain/plain", "sha256": "0", "flops": 1000}
    for arm, trained, seen in (("on", 500, 4), ("still", 0, 0)):
        spent = {"curate": 0, "reference": 0, "weights": 1000, "score": 0, "train": trained}
        spent["total"] = 1000 + trained
        own = cost(5.0, 0.0005, 0.2, "estimated", train=trained, evaluate=7)
        make_arm(
            world, arm, {"flops": spent, "examples_seen": seen, "weights": weights}, {1000: 0.5}, 0.6, own
        )
    world.trace("on", [0, 0, 1, 1], [0, 2, 1, 4], [0.0] * 4)
    world.trace("still", [], [], [])
    return world


def test_an_arm_has_the_energy_of_the_arm_that_it_starts_from(started):
    """By hand: `plain` took 10 s, 0.001 kWh and 0.4 g; the arm itself 5 s, 0.0005 kWh and 0.2 g."""
    found = energy.energy(started.params, started.workspace, "on", 0)
    assert (found["seconds"], found["kwh"], found["gco2e"]) == pytest.approx((15.0, 0.0015, 0.6))


def test_the_whole_report_has_a_frozen_arm_in_it(started, tmp_path):
    """An arm without a single step breaks no table, picture or page."""
    written = write(started.params, started.workspace, tmp_path / "out")
    assert set(written) == {"plain", "chosen", "on", "still"}
    report = (tmp_path / "out/report.html").read_text()
    assert "from results/pretrain/plain" in report
    assert ">the weights untouched<" in report
