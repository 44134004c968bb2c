"""The metrics of several task sets as columns."""

import pytest

from winnow.report.compare import columns
from winnow.report.compare.columns import MAIN, MEAN
from winnow.report.compare.html import _groups

FEW = "semi_supervised.top1_1pct"


def row(arm, **tasks):
    return {"arm": arm, "method": "simclr", "tasks": tasks}


@pytest.fixture
def two_sets():
    """Arm a was measured on both sets, arm b on the first alone; only the first has few labels."""
    first, second = {MAIN: 0.5, FEW: 0.25, "linear_probe.top5": 0.75}, {MAIN: 1.0}
    return [row("a", birds=first, cars=second), row("b", birds={MAIN: 0.75})]


def test_of_one_set_there_is_no_mean():
    table = [row("a", birds={MAIN: 0.5, "semi_supervised.top1_10pct": 0.1, FEW: 0.2})]
    found = columns.headlines(table)
    assert [one.title for one in found] == ["linear top-1", "1 % labels", "10 % labels"]
    assert {one.group for one in found} == {"birds"}
    assert columns.main_column(table) == found[0]
    assert _groups(found) == []


def test_sets_stand_beside_each_other_and_the_means_last(two_sets):
    found = columns.headlines(two_sets)
    assert [one.name for one in found] == [
        "birds: linear top-1",
        "birds: 1 % labels",
        "cars: linear top-1",
        f"{MEAN}: linear top-1",
    ]
    assert found[-1].sets == ("birds", "cars")
    assert columns.main_column(two_sets) == found[-1]
    assert _groups(found) == [("birds", 2), ("cars", 1), (MEAN, 1)]


def test_a_mean_is_of_all_sets_or_none(two_sets):
    """(0.5 + 1.0) / 2 for a; b has one of the two, and no mean may say as much as that of a."""
    mean = columns.headlines(two_sets)[-1]
    assert [mean.value(one) for one in two_sets] == [0.75, None]
    assert [columns.headlines(two_sets)[0].value(one) for one in two_sets] == [0.5, 0.75]


def test_a_set_that_one_arm_alone_has_is_a_set(two_sets):
    assert columns.sets_of(two_sets[::-1]) == ["birds", "cars"]
    assert columns.sets_of([row("c", cars={MAIN: 0.0}), *two_sets]) == ["cars", "birds"]


def test_what_has_no_column_of_its_own_is_listed(two_sets):
    assert [(one.sets, one.metric) for one in columns.others(two_sets)] == [(("birds",), "linear_probe.top5")]


def test_without_a_linear_probe_nothing_ranks():
    assert columns.main_column([row("a", birds={"detection.ap": 0.5})]) is None
    assert columns.main_column([]) is None
