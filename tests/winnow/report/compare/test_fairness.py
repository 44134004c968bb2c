"""What is said of unlike budgets, unlike spending and the noise, over the world's rows."""

import pytest

from winnow.report.compare import table
from winnow.report.compare.fairness import equal, noise, other_budgets, unequal
from winnow.report.compare.verdict import verdict


@pytest.fixture
def rows(world):
    """A function: rows of uniform and hard, with what differs in each."""
    plain = table.rows(world.params, world.workspace)[0]

    def of(*changes):
        names = ("uniform", "hard", "easy")
        return [{**plain, "arm": n, "policy": n, **c} for n, c in zip(names, changes, strict=False)]

    return of


def top1(value):
    return {"held_out": {"linear_probe.top1": value}}


def test_an_arm_with_a_smaller_budget_is_named_and_compared_with_none(rows, judge):
    some = rows({"tasks": top1(0.5)}, {"tasks": top1(0.6)}, {"tasks": top1(0.9), "budget": 10.0})
    text = str(verdict(*judge(some)))
    assert "Compared with no other arm, for their budget is a smaller one: easy (10.0 FLOPs)." in text
    assert "90.0 %" not in text
    assert other_budgets(some[:2]) == []


def test_a_comparison_of_unlike_spending_says_so(rows, judge):
    some = rows({"tasks": top1(0.5)}, {"tasks": top1(0.7)})
    some[1]["flops"] = {**some[1]["flops"], "total": 500}
    text = str(verdict(*judge(some)))
    expected = (
        "They spent unlike FLOPs, 500 FLOPs against 1.00 kFLOPs, so this compares no policies at equal cost."
    )
    assert expected in text
    assert unequal(*rows({}, {})) == ""


@pytest.mark.parametrize(("total", "expected"), [(990, True), (981, True), (970, False)])
def test_equal_is_within_two_percent(rows, total, expected):
    some = rows({}, {})
    some[1]["flops"] = {**some[1]["flops"], "total": total}
    assert equal(some) is expected


def test_noise_is_that_of_seeds_or_unknown(rows, judge):
    """By hand: 52 - 50 = 2 points."""
    one = rows({"tasks": top1(0.5)})
    assert noise(*judge(one)).startswith("No control was run twice, so how far two runs of one choice")
    seeds = [
        {**one[0], "arm": f"uniform-s{s}", "seed": s, "tasks": top1(v)} for s, v in enumerate((0.5, 0.52))
    ]
    assert noise(*judge(seeds)) == "Two seeds of one control are up to 2.0 points apart."
    assert noise(*judge([{**one[0], "policy": "hard"}])) == ""
