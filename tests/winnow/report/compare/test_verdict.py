"""The verdict in words, over the world's rows with other accuracies."""

import pytest

from winnow.report.compare import table
from winnow.report.compare.groups import grouped
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.verdict import against_best_control, as_json, verdict

HALF = {"version": "pool+reference", "mixture": [0.5, 0.5]}
# What an arm is called here -> how its row differs from that of uniform on the pool.
ROWS = {
    "reference": {"version": "reference"},
    "both": {"version": "pool+reference"},
    "half": HALF,
    "clean": {"version": "clean"},
    "small": {"version": "small"},
    "hard_half": {**HALF, "policy": "hard"},
}


@pytest.fixture
def say(judge):
    """A function: the verdict on rows, with 1,000 test images a set."""
    return lambda rows: str(verdict(*judge(rows)))


def rows_of(world, **top1):
    """Rows of these policies (or `ROWS`) with these linear top-1, each at the same spending."""
    plain = table.rows(world.params, world.workspace)[0]
    measured = plain["tasks"]["held_out"]
    return [
        {
            **plain,
            **ROWS.get(name, {"policy": name}),
            "arm": name,
            "tasks": {"held_out": {**measured, "linear_probe.top1": value}},
        }
        for name, value in top1.items()
    ]


@pytest.mark.parametrize(
    ("top1", "expected"),
    [
        (
            {"uniform": 0.5, "hard": 0.7},
            # the hits of both are drawn apart: +- 1.96 sqrt((0.5 * 0.5 + 0.7 * 0.3) / 1000) = 4.2 points
            "With supervised and one seed, hard is ahead of the best control, uniform: 70.0 % linear-probe "
            "top-1 against 50.0 %, 20.0 points more (15.",
        ),
        (
            {"uniform": 0.5, "hard": 0.505},
            "With supervised and one seed, hard and the best control, uniform, are not distinguishable: "
            "50.5 % linear-probe top-1 against 50.0 %, 0.5 points more (\u2212",
        ),
        (
            {"uniform": 0.5, "hard": 0.3},
            "no policy is ahead of the best control, uniform: it reached 50.0 % linear-probe top-1, the best "
            "policy, hard, 30.0 %, 20.0 points less (1",
        ),
        (
            {"uniform": 0.5, "hard": 0.49},
            "hard and the best control, uniform, are not distinguishable: 49.0 % linear-probe top-1 against "
            "50.0 %, 1.0 points less (\u2212",
        ),
        ({"uniform": 0.5, "hard": 0.7, "easy": 0.2}, "Uniform is ahead of easy (20.0 %)."),
        (
            {"easy": 0.5, "hard": 0.7},
            "hard is the best policy at 70.0 %; there is no control to compare with.",
        ),
        ({"uniform": 0.5}, "With supervised, only uniform was run: 50.0 % linear-probe top-1."),
        (
            {"uniform": 0.5, "both": 0.6},
            "pool + reference is the best control at 60.0 %; there is no policy to compare with.",
        ),
        (
            {"uniform": 0.5, "small": 0.7},
            "small is ahead of the best control, uniform: 70.0 % linear-probe top-1 against 50.0 %",
        ),
        (
            {"half": 0.5, "hard_half": 0.7},
            "hard on 50 % pool + 50 % reference is ahead of the best control, 50 % pool + 50 % reference: "
            "70.0 % linear-probe top-1 against 50.0 %",
        ),
    ],
)
def test_verdict(world, say, top1, expected):
    text = say(rows_of(world, **top1))
    assert expected in text
    assert text.startswith("Every arm spent the same, 1.00 kFLOPs")
    assert "One seed an arm: the intervals hold the chance of the test images alone" in text


@pytest.mark.parametrize(
    ("control", "name"),
    [("reference", "reference"), ("both", "pool + reference"), ("half", "50 % pool + 50 % reference")],
)
def test_a_policy_that_beats_uniform_alone_has_not_won(world, say, control, name):
    text = say(rows_of(world, uniform=0.4, hard=0.6, easy=0.3, **{control: 0.7}))
    expected = (
        f"With supervised and one seed, no policy is ahead of the best control, {name}: it reached 70.0 % "
        "linear-probe top-1, "
        "the best policy, hard, 60.0 %, 10.0 points less"
    )
    assert expected in text
    assert "40.0 %" not in text  # the weaker control is no measure


def test_a_policy_that_wins_beats_the_best_control(world, say):
    text = say(rows_of(world, uniform=0.4, both=0.5, reference=0.6, easy=0.55, hard=0.7))
    expected = (
        "hard is ahead of the best control, reference: 70.0 % linear-probe top-1 against 60.0 %, 10.0 points"
    )
    assert expected in text
    assert "Reference is ahead of easy (55.0 %)." in text


def test_the_oracle_neither_wins_nor_is_to_be_beaten(world, say):
    text = say(rows_of(world, uniform=0.5, hard=0.7, clean=0.9))
    assert "hard is ahead of the best control, uniform: 70.0 % linear-probe top-1 against 50.0 %" in text
    oracle = "With the uncorrupted part of the pool alone, which no user knows, it would be 90.0 %."
    assert oracle in text
    assert "90.0 %" not in text.replace(oracle, "")
    assert oracle not in say(rows_of(world, uniform=0.5, hard=0.7))
    controls = say(rows_of(world, uniform=0.5, clean=0.9))
    assert "only uniform was run: 50.0 %" in controls
    assert oracle in controls


def test_every_set_has_its_own_verdict(world, say):
    """Hard wins on one set; on the other the reference does, where easy was not measured."""
    rows = rows_of(world, uniform=0.5, reference=0.4, hard=0.7, easy=0.2)
    for row, top1 in zip(rows, (0.3, 0.6, 0.5, None), strict=True):
        if top1 is not None:
            row["tasks"] = {**row["tasks"], "flowers": {"linear_probe.top1": top1}}
    text = say(rows)
    first, second = text.index("With supervised on held_out"), text.index("With supervised on flowers")
    assert (
        "hard is ahead of the best control, uniform: 70.0 % linear-probe top-1 against 50.0 %" in text[first:]
    )
    assert "Uniform is ahead of easy (20.0 %)." in text[first:second]
    flowers = text[second:]
    assert "no policy is ahead of the best control, reference: it reached 60.0 %" in flowers
    assert "the best policy, hard, 50.0 %, 10.0 points less" in flowers
    assert "easy" not in flowers


def test_without_a_probe_or_an_arm_nobody_is_better(world, say):
    rows = [{**row, "tasks": {}} for row in rows_of(world, uniform=0.5, hard=0.7)]
    assert "No task set was measured by a linear probe, so no arm is said to be better." in say(rows)
    assert say([]) == "No arm was run."


def test_verdict_says_where_the_control_is_ahead(world, say):
    rows = rows_of(world, uniform=0.5, hard=0.7)
    rows[1]["tasks"]["held_out"]["semi_supervised.top1_1pct"] = 0.1
    assert "By other metrics, uniform is ahead of hard: 1 % labels (40.0 % against 10.0 %)." in say(rows)


def test_verdict_at_unequal_spending_says_so(world, say):
    rows = rows_of(world, uniform=0.5, hard=0.7)
    rows[1]["flops"] = {**rows[1]["flops"], "total": 2000}
    assert say(rows).startswith("The arms spent unequal amounts, 1.00 kFLOPs to 2.00 kFLOPs")


def seeds_of(world, *top1s):
    """Rows of three seeds or more: of each the accuracies of the same arms."""
    return [
        {**row, "arm": f"{row['arm']}-s{seed}", "seed": seed}
        for seed, top1 in enumerate(top1s)
        for row in rows_of(world, **top1)
    ]


def test_a_win_over_seeds_is_in_means_and_their_interval(world, say):
    uniform, hard = (0.44, 0.45, 0.46), (0.64, 0.65, 0.66)
    seeds = [{"uniform": a, "hard": b} for a, b in zip(uniform, hard, strict=True)]
    text = say(seeds_of(world, *seeds))
    assert (
        "hard beat the best control, uniform: 65.0 % linear-probe top-1 against 45.0 %, 20.0 points" in text
    )
    assert "Intervals are 95 %, over 3 seeds or more and the test images" in text


def test_arms_of_one_seed_beside_arms_of_several_are_named(world, say):
    """Only what several seeds say is `beat`."""
    seeds = [{"uniform": a, "easy": a - 0.01, "hard": a - 0.2} for a in (0.64, 0.65, 0.66)]
    once = [{**row, "arm": "half", **HALF} for row in rows_of(world, uniform=0.4)]
    poor = [{**row, "arm": "rho", "policy": "rho"} for row in rows_of(world, uniform=0.3)]
    text = say([*seeds_of(world, *seeds), *once, *poor])
    assert "Uniform beat hard (45.0 %), and is ahead of rho (30.0 %) by the one seed there is." in text
    assert "over 3 seeds or more" in text
    assert "50 % pool + 50 % reference and rho have one seed: compared with the same seed of others" in text
    assert "One seed an arm" not in text


def test_seeds_that_disagree_tell_nothing_apart(world, say):
    """The test images alone would call each of the three differences, of 10 to -8 points, certain."""
    seeds = [{"uniform": 0.5, "hard": 0.6}, {"uniform": 0.5, "hard": 0.58}, {"uniform": 0.5, "hard": 0.42}]
    text = say(seeds_of(world, *seeds))
    assert "hard and the best control, uniform, are not distinguishable: 53.3 %" in text


def test_one_seed_without_outcomes_claims_nothing(world):
    groups = grouped(rows_of(world, uniform=0.5, hard=0.9))
    assert "50.0 %; nothing tells how far chance reaches." in str(verdict(groups, Intervals(groups, {})))


def test_a_policy_must_beat_every_control(world, judge):
    """The best control by its mean has few seeds in common with it; another one is not told apart."""
    rows = seeds_of(world, *({"uniform": u, "both": 0.5, "hard": 0.6} for u in (0.3, 0.4, 0.75)))
    text = str(verdict(*judge(rows)))
    assert "hard and uniform are not distinguishable" in text
    assert "beat" not in text


def test_numbers_for_machines_hold_what_the_verdict_says(world, judge):
    """By hand: of 3 x 3 pairs of seeds hard is better in all; the middle of 6 values of seeds and sets."""
    rows = seeds_of(world, *({"uniform": u, "hard": 0.6} for u in (0.3, 0.4, 0.5)))
    for row in rows:
        row["tasks"]["birds"] = {"linear_probe.top1": 0.1}
    found = as_json(*judge(rows))
    assert [(one["arm"], one["control"], one["metric"]) for one in found["differences"]] == [
        ("hard", "uniform", f"{name}: linear top-1") for name in ("held_out", "birds", "mean of sets")
    ]
    first = found["differences"][0]
    assert first["mean"] == pytest.approx(0.2)
    assert first["low"] < 0.2 < first["high"]
    assert (first["seeds"], first["images"], first["probability_of_improvement"]) == (3, 1000, 1)
    uniform = found["groups"][0]
    assert (uniform["arm"], uniform["seeds"]) == ("uniform", [0, 1, 2])
    assert uniform["metrics"]["held_out: linear top-1"]["mean"] == pytest.approx(0.4)
    assert uniform["interquartile_mean"] == pytest.approx((0.1 + 0.1 + 0.3 + 0.4) / 4)


def test_every_group_has_its_difference_to_the_best_control_of_its_family(world, judge):
    """By hand: 10, 20 and 30 points."""
    rows = rows_of(world, uniform=0.5, reference=0.6, hard=0.4, easy=0.7, clean=0.9)
    other = [{**row, "arm": f"simclr-{row['arm']}", "method": "simclr"} for row in rows[2:4]]
    found = against_best_control(*judge([*rows, *other]))
    assert found["reference"] == "best control"
    shown = {name: text.split(" ")[0] for name, text in found.items() if name != "reference"}
    assert shown == {"uniform": "\u221210.0", "hard": "\u221220.0", "easy": "+10.0", "clean": "+30.0"}
