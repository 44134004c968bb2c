"""How a run knows how far it is, with meters that are moved by hand."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.training.checkpoint import Checkpoint
from winnow.training.pace import POSITIONS, WARM, FixedSteps, UntilSpent, as_pace


class Meter:
    """Spends what it is told to, and counts."""

    def __init__(self, **spent):
        self.spent = {"seconds": 0.0, "kwh": 0.0, **spent}

    def __call__(self):
        return dict(self.spent)

    def spend(self, seconds, watts=100.0):
        self.spent["seconds"] += seconds
        self.spent["kwh"] += watts * seconds / 3.6e6


def run(pace, meter, costs, done=0):
    """Take steps that cost so many seconds, in turn, until the pace ends; the share after each."""
    shares = []
    for step in pace.steps(done):
        meter.spend(costs[step % len(costs)])
        pace.did(step + 1)
        shares.append(pace.share(step + 1))
    return shares


def test_a_number_of_steps_is_as_it_was():
    pace = as_pace(8)
    assert isinstance(pace, FixedSteps)
    assert (pace.steps(3), pace.position(5), pace.share(6), pace.total) == (range(3, 8), 5, 6 / 8, 8)
    assert [pace.follows(step) for step in (-1, 6, 7)] == [True, True, False]


def test_equal_steps_spend_the_budget_to_the_step():
    meter = Meter(seconds=3.0)  # before the first step
    shares = run(UntilSpent({"seconds": 103.0}, meter), meter, [2.0])
    assert len(shares) == 50  # (103 - 3) / 2
    assert shares == pytest.approx([(i + 1) / 50 for i in range(50)])


def test_what_was_charged_is_paid_at_the_arms_own_rate():
    """20 steps were charged: of 100 s at 1 s a step 80 are left."""
    meter = Meter()
    shares = run(UntilSpent({"seconds": 100.0}, meter, upfront=20.0), meter, [1.0])
    assert len(shares) == 80


def test_a_slow_first_step_is_not_the_arms_rate():
    meter, pace = Meter(), None
    pace = UntilSpent({"seconds": 109.0}, meter, upfront=20.0)
    shares = run(pace, meter, [10.0] + [1.0] * 1000)
    assert len(shares) == 80  # 10 + 79 x 1 s, and 20 s charged


def test_a_charge_that_leaves_nothing_is_refused():
    meter = Meter()
    with pytest.raises(ValueError, match=r"pretrain\.budget\.seconds: 100; .* about 200 at this arm's rate"):
        run(UntilSpent({"seconds": 100.0}, meter, upfront=200.0), meter, [1.0])
    assert meter.spent["seconds"] == WARM + 1


@pytest.mark.parametrize(
    ("budgets", "most", "steps", "says"),
    [
        ({"seconds": 30.0, "kwh": 1.0}, None, 30, "budget: seconds"),
        ({"seconds": 1e9, "kwh": 40 * 100.0 / 3.6e6}, None, 40, "budget: kwh"),
        ({"seconds": 30.0}, (20, "budget: flops"), 20, "budget: flops"),
        ({"seconds": 30.0}, (12, "examples"), 12, "examples"),
    ],
)
def test_what_is_spent_first_ends_the_run_and_is_named(budgets, most, steps, says):
    meter = Meter()
    pace = UntilSpent(budgets, meter, most=most)
    assert len(run(pace, meter, [1.0])) == pytest.approx(steps, abs=1)
    assert pace.stopped_by == says


@given(
    st.lists(st.floats(0.01, 30.0), min_size=1, max_size=40),
    st.floats(20.0, 500.0),
    st.floats(0.0, 3.0),
    st.floats(0.0, 10.0),
)
def test_progress_never_goes_back_and_ends_at_one(costs, budget, upfront, begin):
    meter = Meter(seconds=begin)
    pace = UntilSpent({"seconds": budget}, meter, upfront)
    shares = run(pace, meter, costs)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert 0 <= pace.position(0) < POSITIONS
    # A step is the least that can be done, and none is begun with the budget spent.
    assert meter.spent["seconds"] <= max(budget, begin) + max(costs)


def test_an_interrupted_run_goes_on_with_what_is_left():
    """40 of 100 s, 10 more that were lost with the kill: 50 are left for the second half of the schedule."""
    meter = Meter()
    first = UntilSpent({"seconds": 100.0}, meter)
    steps = first.steps(0)
    for _ in range(40):
        step = next(steps)
        meter.spend(1.0)
        first.did(step + 1)
    meter.spend(10.0)
    second = UntilSpent({"seconds": 100.0}, meter)
    second.restore(first.state())
    shares = run(second, meter, [1.0], done=40)
    assert len(shares) == 50
    assert shares[0] == pytest.approx(0.4 + 0.6 / 50)
    assert (shares[-1], meter.spent["seconds"]) == (1.0, 100.0)


def test_the_steps_with_a_held_encoder_are_counted():
    meter = Meter()
    pace = UntilSpent({"seconds": 40.0}, meter, held=POSITIONS // 4)
    run(pace, meter, [1.0])
    assert pace.held_steps == 10


def test_a_loop_trains_until_the_budget_is_spent_and_its_learning_rate_ends_there(start, tmp_path):
    """A meter that spends a second a reading: 12 s are the reading at the start and 12 steps."""

    def made():
        ticks = itertools.count()
        pace = UntilSpent({"seconds": 12.0}, lambda: {"seconds": float(next(ticks))})
        loop = start(steps=pace)
        loop.schedule.warmup = 0
        return loop

    loop, rates = made(), []
    state = loop.run(lambda state: rates.append(loop.optimizer.param_groups[0]["lr"]))
    assert state.step == 12
    assert rates[6:] == sorted(rates[6:], reverse=True)
    assert rates[-1] < 0.05 * max(rates)

    def kill(state):
        if state.step == 6:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        made().run(kill, checkpoint=Checkpoint(tmp_path, "run", 0.0))
    resumed = made()
    after = resumed.run(checkpoint=Checkpoint(tmp_path, "run", 1e9))
    assert resumed.resumed
    assert after.step == 5 + 12  # this meter has forgotten what was spent before, so a whole budget is left
    assert resumed.pace.share(after.step) == 1.0
