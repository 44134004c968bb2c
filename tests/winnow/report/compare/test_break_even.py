"""Prices and break-even on made-up tables, by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.config.schema import Pretrain
from winnow.report.compare.break_even import at, overtakes, price, reached, runs_to_pay, worth_of
from winnow.report.compare.groups import grouped

SLOW = [(10.0, 0.2), (20.0, 0.4), (40.0, 0.6)]
FAST = [(5.0, 0.3), (10.0, 0.6), (20.0, 0.7)]


def row(arm, policy, top1, curate=0, reference=0, total=100, **more):
    spent = {"curate": curate, "reference": reference, "score": 0, "train": total - curate - reference}
    return {
        "arm": arm,
        "policy": policy,
        "method": "supervised",
        "backbone": "resnet10t",
        "version": "pool",
        "mixture": None,
        "seed": 0,
        "flops": {**spent, "total": total},
        "kwh": 1.0,
        "gco2e": 300.0,
        "seconds": 9.0,
        "examples_seen": 8,
        "energy_quality": "counter",
        "tasks": {"held_out": {"linear_probe.top1": top1}},
        "budget": 100.0,
        "stopped_by": "budget",
        **more,
    }


def readings(*pairs):
    return [{"flops": x, "val_top1": y} for x, y in pairs]


def test_a_point_is_one_above_the_floor():
    found = price(row("a", "easy", 0.8, total=3000), 0.8, 0.5)
    assert (found.points, found.flops, found.grams) == (
        pytest.approx(30),
        pytest.approx(100),
        pytest.approx(10),
    )


@pytest.mark.parametrize(
    ("accuracy", "quality", "flops", "grams"),
    [(0.5, "counter", None, None), (0.4, "counter", None, None), (0.6, "estimated", 10.0, None)],
)
def test_no_price_below_the_floor_and_no_grams_of_an_estimate(accuracy, quality, flops, grams):
    found = price(row("a", "easy", accuracy, energy_quality=quality), accuracy, 0.5)
    assert found.flops == (None if flops is None else pytest.approx(flops))
    assert found.grams == grams


def test_where_a_line_first_reaches_an_accuracy():
    assert reached(SLOW, 0.5) == pytest.approx(30)
    assert reached(SLOW, 0.1) == 10  # it may have been there before; nothing says so
    assert reached(SLOW, 0.7) is None
    assert reached([(1.0, 0.2), (2.0, 0.6), (3.0, 0.1), (4.0, 0.9)], 0.5) == pytest.approx(1.75)


def test_what_is_paid_once_is_saved_after_so_many_runs():
    """The control ends at 60 % after 40; ours is there after 10: 30 are saved each time."""
    assert runs_to_pay(100.0, FAST, SLOW) == (4, 30.0)  # 3 runs save 90
    assert runs_to_pay(90.0, FAST, SLOW) == (3, 30.0)
    assert runs_to_pay(0.0, FAST, SLOW) == (1, 30.0)


def test_it_never_pays_where_the_controls_end_is_not_reached_or_not_with_less():
    assert runs_to_pay(1.0, SLOW, FAST) is None  # 70 % is never reached
    assert runs_to_pay(1.0, SLOW, SLOW) is None


def test_from_where_on_a_line_is_ahead():
    later = [(x + 20, y) for x, y in FAST]
    assert overtakes(FAST, SLOW) == 10  # from the first reading that both have
    # SLOW is at 45, 50, 60 % where ours is at 30, 60, 70 %: between 25 and 30, at 25 + 5 x 15/25.
    assert overtakes(later, SLOW) == pytest.approx(28.0)
    assert overtakes(SLOW, FAST) is None


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 60))
def test_a_line_is_between_its_readings(low, high, x):
    assert min(low, high) - 1e-9 <= at([(10.0, low), (50.0, high)], x) <= max(low, high) + 1e-9


@pytest.fixture
def found():
    """A control, a policy with a reference that is shared by ten, one that is too weak, and a floor."""
    table = [
        row("plain", "uniform", 0.7),
        row("rho", "rho", 0.75, reference=10),
        row("weak", "hard", 0.6),
        row("floor", "uniform", 0.5, total=0, frozen=True),
    ]
    curves = {
        "plain": readings((50, 0.4), (100, 0.6)),
        "rho": readings((30, 0.5), (60, 0.6), (100, 0.65)),
        "weak": readings((50, 0.2), (100, 0.3)),
        "floor": readings((0, 0.1)),
    }
    return worth_of(grouped(table), curves, Pretrain(100.0, reference_share=0.1))


def test_a_comparison_has_a_price_for_each_arm_and_a_break_even_for_each_policy(found):
    assert {one.arm: one.flops for one in found.prices} == {
        "plain": pytest.approx(5.0),
        "rho": pytest.approx(4.0),
        "weak": pytest.approx(10.0),
    }
    rho, weak = found.break_even
    # 10 were charged at a tenth, so the reference cost 100; without it 60 % is reached at 50 instead of 100.
    assert (rho.control, rho.once) == ("plain", pytest.approx(100.0))
    assert rho.over_runs == "after 2 runs: each reaches 60.0 % with 50.0 FLOPs less"
    assert rho.in_one_run == "never within 100 FLOPs"
    assert weak.once == 0
    assert weak.over_runs == "never within this budget: it does not reach the 60.0 % of the control"


def test_both_tables_stand_below_the_main_one(found):
    cells = [[cell.strip() for cell in line.split("|")] for line in found.markdown.splitlines()]
    assert cells[1][1:-1] == ["arm", "points above the floor", "FLOPs per point", "CO2e per point"]
    assert [line[1] for line in cells[3:6]] == ["rho", "plain", "weak"]  # best first
    assert cells[3][2:-1] == ["+25.0", "4.00 FLOPs", "12.0 g"]
    assert ["rho", "plain", "100 FLOPs"] in [line[1:4] for line in cells]
    table = found.markdown.split("\n\n")[0].strip().splitlines()
    assert len({len(line) for line in table}) == 1  # lines up unrendered


def test_nothing_is_said_without_a_floor_a_control_or_readings():
    alone = grouped([row("rho", "rho", 0.7)])
    found = worth_of(alone, {"rho": readings((1, 0.1))}, Pretrain(100.0))
    assert (found.prices, found.break_even, found.markdown) == ([], [], "")
    both = grouped([row("plain", "uniform", 0.7), row("rho", "rho", 0.7)])
    unread = {"plain": [{"flops": 1.0}], "rho": [{"flops": 1.0}]}
    assert worth_of(both, unread, Pretrain(100.0)).break_even == []
