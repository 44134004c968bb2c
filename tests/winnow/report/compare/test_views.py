"""Views of made-up courses, by hand."""

import csv

import pytest

from winnow.report.compare.views import (
    EXAMPLES,
    FLOPS,
    SECONDS,
    reached_by_all,
    value_at,
    with_seconds,
    write_curves,
)


def readings(*points):
    return [{"step": step, "flops": flops, "val_top1": value} for step, flops, value in points]


def test_seconds_before_the_first_step_and_in_proportion_to_steps():
    """By hand: 30 s of a reference, then 10 s a step."""
    found = with_seconds(readings((1, 5, 0.1), (3, 9, 0.2)), total=60.0, own=30.0)
    assert [one["seconds"] for one in found] == [40.0, 60.0]


def test_unknown_seconds_are_left_out_and_are_not_zero():
    assert all("seconds" not in one for one in with_seconds(readings((1, 5, 0.1)), None, 30.0))
    assert all("seconds" not in one for one in with_seconds(readings((0, 0, 0.1)), 3.0, 3.0))  # no step
    assert with_seconds([], 3.0, 3.0) == []


def test_equal_is_the_most_that_every_curve_reaches():
    short, long = readings((1, 5, 0.1), (2, 10, 0.3)), readings((1, 8, 0.2), (2, 16, 0.4))
    at = reached_by_all([short, long], "flops")
    assert at == 10
    assert [value_at(one, "flops", at) for one in (short, long)] == [pytest.approx(0.3), pytest.approx(0.25)]
    assert reached_by_all([short, long], "seconds") is None
    assert reached_by_all([short, []], "flops") is None


@pytest.mark.parametrize("at", [4, 17])
def test_nothing_is_read_beyond_a_curve(at):
    assert value_at(readings((1, 5, 0.1), (2, 16, 0.3)), "flops", at) is None


def test_amounts_as_people_read_them():
    assert FLOPS.amount(3.98e12) == "3.98 TFLOPs"
    assert SECONDS.amount(43.4) == "43 s"
    assert EXAMPLES.amount(17664) == "17,664 examples"


def test_curves_as_one_table(tmp_path):
    write_curves(tmp_path / "a.csv", {"x": readings((1, 5, 0.1)), "y": [{"step": 1.0, "loss": 2.0}]})
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0] == dict.fromkeys(rows[0], "") | {"arm": "x", "step": "1", "flops": "5", "val_top1": "0.1"}
    assert rows[1] == dict.fromkeys(rows[0], "") | {"arm": "y", "step": "1.0", "loss": "2.0"}
    assert list(rows[0])[:4] == ["arm", "step", "flops", "seconds"]
