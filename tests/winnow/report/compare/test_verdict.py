"""The verdict in words, over the world's rows with other accuracies."""

import pytest

from winnow.report.compare import corruption, table
from winnow.report.compare.verdict import verdict

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
def say(world):
    """A function: the verdict on rows, with 1,000 test images a set."""
    found = corruption.read(world.pool, world.workspace, world.traces)
    return lambda rows: " ".join(verdict(rows, {"held_out": 1000, "flowers": 1000}, found))


def rows_of(world, **top1):
    """Rows of these policies (or `ROWS`) with these linear top-1, each at the same spending."""
    plain = table.rows(world.params, world.workspace)[0]
    measured = plain["tasks"]["held_out"]
    return [
        {
            **plain,
            **ROWS.get(name, {"policy": name}),
            "tasks": {"held_out": {**measured, "linear_probe.top1": value}},
        }
        for name, value in top1.items()
    ]


@pytest.mark.parametrize(
    ("top1", "expected"),
    [
        (
            {"uniform": 0.5, "hard": 0.7},
            "hard won: 70.0 % linear-probe top-1 against 50.0 % for uniform, the best control, 20.0 points "
            "more",
        ),
        # two standard errors at 50.5 % on 1,000 images: 2 sqrt(0.505 * 0.495 * 2 / 1000) = 4.47 points
        (
            {"uniform": 0.5, "hard": 0.505},
            "With supervised, there is no clear difference: hard reached 50.5 % linear-probe top-1 against "
            "50.0 % for uniform, the best control, and on 1,000 test images, less than 4.5 points is noise",
        ),
        (
            {"uniform": 0.5, "hard": 0.3},
            "no policy beat the best control, uniform: it reached 50.0 % linear-probe top-1",
        ),
        (
            {"uniform": 0.5, "hard": 0.3},
            "the best policy, hard, 30.0 % (20.0 points less); hard trained on 8 images (25.0 % corrupted), "
            "uniform on 8",
        ),
        (
            {"uniform": 0.5, "hard": 0.49},
            "there is no clear difference: hard reached 49.0 % linear-probe top-1 against 50.0 % for uniform",
        ),
        ({"uniform": 0.5, "hard": 0.7, "easy": 0.2}, "Uniform beat easy (20.0 %)."),
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
            "small won: 70.0 % linear-probe top-1 against 50.0 % for uniform",
        ),
        (
            {"half": 0.5, "hard_half": 0.7},
            "hard on 50 % pool + 50 % reference won: 70.0 % linear-probe top-1 against 50.0 % for "
            "50 % pool + 50 % reference, the best control",
        ),
    ],
)
def test_verdict(world, say, top1, expected):
    text = say(rows_of(world, **top1))
    assert expected in text
    assert text.startswith("Every arm spent the same, 1.00 kFLOPs")
    assert "n = 1), no statistical significance can be claimed" in text


@pytest.mark.parametrize(
    ("control", "name"),
    [("reference", "reference"), ("both", "pool + reference"), ("half", "50 % pool + 50 % reference")],
)
def test_a_policy_that_beats_uniform_alone_has_not_won(world, say, control, name):
    text = say(rows_of(world, uniform=0.4, hard=0.6, easy=0.3, **{control: 0.7}))
    expected = (
        f"With supervised, no policy beat the best control, {name}: it reached 70.0 % linear-probe top-1, "
        "the best policy, hard, 60.0 % (10.0 points less)"
    )
    assert expected in text
    assert "won" not in text
    assert "40.0 %" not in text  # the weaker control is no measure


def test_a_policy_that_wins_beats_the_best_control(world, say):
    text = say(rows_of(world, uniform=0.4, both=0.5, reference=0.6, easy=0.55, hard=0.7))
    expected = (
        "hard won: 70.0 % linear-probe top-1 against 60.0 % for reference, the best control, 10.0 points more"
    )
    assert expected in text
    assert "Reference beat easy (55.0 %)." in text


def test_the_oracle_neither_wins_nor_is_to_be_beaten(world, say):
    text = say(rows_of(world, uniform=0.5, hard=0.7, clean=0.9))
    assert "hard won: 70.0 % linear-probe top-1 against 50.0 % for uniform, the best control" in text
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
    assert "hard won: 70.0 % linear-probe top-1 against 50.0 % for uniform, the best control" in text[first:]
    assert "Uniform beat easy (20.0 %)." in text[first:second]
    flowers = text[second:]
    assert "no policy beat the best control, reference: it reached 60.0 %" in flowers
    assert "the best policy, hard, 50.0 %" in flowers
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


def test_verdict_over_seeds_takes_means(world, say):
    more = [{**row, "seed": 1} for row in rows_of(world, uniform=0.4, hard=0.6)]
    text = say(rows_of(world, uniform=0.5, hard=0.7) + more)
    assert "hard won: 65.0 % linear-probe top-1 against 45.0 %" in text
    assert "Means over at least 2 seeds" in text
