"""Budgets in words."""

from winnow.report.compare.budgets import allowance, in_words, spending


def row(budget, total=1000, **more):
    return {"arm": "a", "budget": budget, "flops": {"total": total}, **more}


def test_a_budget_is_said_in_its_units():
    assert in_words(4e12) == "4.00 TFLOPs"
    assert in_words({"seconds": 60.0, "kwh": 0.001, "gco2e": 5.0}) == "60 s or 1.00 Wh or 5.00 g CO2e"


def test_budgets_of_one_experiment_are_ordered_by_their_first_unit():
    assert allowance(row({"seconds": 60.0, "kwh": 1.0})) == 60.0
    assert allowance(row(1e12)) == 1e12


def test_arms_that_time_stopped_are_said_to_be_no_bytes_to_reproduce():
    said = spending(
        [row({"seconds": 60.0}), row({"seconds": 60.0}, 3000), row({"seconds": 60.0}, 0, frozen=True)]
    )
    assert said.startswith("Every arm had 60 s for its own pretraining")
    assert "spent 1.00 kFLOPs to 3.00 kFLOPs" in said
    assert "cannot be reproduced to the byte" in said


def test_of_flops_nothing_is_said():
    assert spending([row(1e12), row({"flops": 1e12})]) is None
