"""What a budget may be."""

import pytest

from winnow.config.budget import as_numbers, check_budget, limits, reproducible
from winnow.config.errors import ParamsError


@pytest.mark.parametrize("budget", ["4e12", 4e12, 4_000_000_000_000])
def test_a_number_is_flops(budget):
    assert as_numbers(budget) == 4e12
    assert limits(as_numbers(budget), 0.5) == {"flops": 2e12}
    assert reproducible(as_numbers(budget))


def test_a_mapping_is_by_unit():
    budget = as_numbers({"seconds": 60, "kwh": "1e-2"})
    check_budget("pretrain.budget", budget)
    assert limits(budget, 2.0) == {"seconds": 120.0, "kwh": 0.02}
    assert not reproducible(budget)
    assert reproducible({"flops": 1e12})


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ({}, "pretrain.budget: an empty mapping; give one or more of flops, seconds, kwh, gco2e"),
        ({"sec": 1.0}, "pretrain.budget: 'sec' is unknown; did you mean seconds?"),
        ({"kwh": 0.0}, "pretrain.budget.kwh: 0.0 is out of range; allowed: above 0, finite"),
        ({"kwh": {"kwh": 1.0}}, "pretrain.budget.kwh: None is no number"),
        ({"kwh": None}, "pretrain.budget.kwh: None is no number"),
        (True, "pretrain.budget: True is no number"),
        ([1.0], r"pretrain.budget: \[1.0\] is no number"),
    ],
)
def test_all_else_is_one_line(budget, says):
    with pytest.raises(ParamsError, match=says):
        check_budget("pretrain.budget", as_numbers(budget))
