"""Speed-ups of made-up curves, by hand."""

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.report.compare.speedup import Reached, reaches, reading_error, speedup, still_gaining, target

CAPTIONS = Path(__file__).resolve().parents[4] / "benchmarks/selection_captions.json"
# Uniform is done at 250 of 600, and gains no more than noise afterwards; an arm gets there at 128.
PLATEAU = [(50.0, 0.30), (150.0, 0.40), (250.0, 0.50), (400.0, 0.505), (600.0, 0.508)]
FAST = [(56.0, 0.35), (96.0, 0.42), (136.0, 0.52), (300.0, 0.53)]


def test_a_plateau_buys_no_speedup():
    """By hand: 0.42 to 0.52 from 96 to 136 is 0.50 at 128. Read at the plateau's end, the control would need
    600 and the arm 131.2, 4.6 times fewer; read where the control got there, 250 / 128 = 1.95.
    """
    found = speedup([FAST], [PLATEAU], [0.01])
    assert (found.targets, found.control_costs) == ((0.50,), (250.0,))
    assert found.arm_costs[0] == pytest.approx(128.0)
    assert found.ratio == pytest.approx(250 / 128)
    assert (found.bound, found.known) == ("", False)  # one seed has no interval
    naive = reaches(FAST, 0.508, 0.0)
    assert PLATEAU[-1][0] / naive.cost == pytest.approx(600 / 131.2)


@pytest.mark.parametrize(("seed", "expected", "naive"), [("1", 2.2, 2.2), ("2", 2.4, 4.7), ("0", 4.6, 4.6)])
def test_captions_that_read_4_7_on_a_plateau_are_2_4(seed, expected, naive):
    """The runs of benchmarks/selection_captions.json, the reference charged, 500 pairs: docs/log.md reads 2.2
    and 2.4 against uniform's run of 600 steps. With seed 0 uniform gained 3.3 points, two standard errors,
    from 600 to 1,200 steps: no plateau, so the longer run is the one to beat.
    """
    found = json.loads(CAPTIONS.read_text())[seed]
    paid = {"uniform": 0.0, "jest 0.8, proxy": found["reference_flops"]}
    control, arm = (
        sorted((run["flops"] + more, run["accuracy"]) for run in found["runs"][name])
        for name, more in paid.items()
    )
    best = max(control, key=lambda reading: reading[1])
    assert best[0] / reaches(arm, best[1], 0.0).cost == pytest.approx(naive, abs=0.05)
    error = reading_error([control], 500)
    assert speedup([arm], [control], error).ratio == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize(
    ("error", "expected"),
    [(0.0, (600.0, 0.508)), (0.004, (400.0, 0.505)), (0.01, (250.0, 0.50)), (1.0, (50.0, 0.30))],
)
def test_target_is_the_earliest_reading_within_an_error_of_the_best(error, expected):
    assert target(PLATEAU, error) == expected


@pytest.mark.parametrize(
    ("curve", "expected"),
    [
        ([(1.0, 0.1), (2.0, 0.3)], Reached(1.5)),
        ([(1.0, 0.2), (2.0, 0.3)], Reached(1.0, by=True)),
        ([(1.0, 0.1), (2.0, 0.15)], None),
        ([(1.0, 0.1), (2.0, 0.25), (3.0, 0.1)], None),  # it does not stay
        ([(1.0, 0.1), (2.0, 0.3), (3.0, 0.195)], Reached(1.5)),  # less than an error below
        ([(1.0, 0.1), (2.0, 0.3), (3.0, 0.1), (4.0, 0.3)], Reached(3.5)),
        ([], None),
    ],
)
def test_reaches(curve, expected):
    found = reaches(curve, 0.2, 0.01)
    assert found == (expected and Reached(pytest.approx(expected.cost), expected.by))


def test_seeds_have_a_geometric_mean_and_an_interval():
    """By hand: ratios 2 and 4; their logarithms are ln 8 / 2 +- t(1, 97.5 %) x ln 2 / 2."""
    control = [(100.0, 0.1), (400.0, 0.5)]
    arms = [[(100.0, 0.3), (200.0, 0.5)], [(50.0, 0.3), (100.0, 0.5)]]
    found = speedup(arms, [control, control], [0.0, 0.0])
    assert found.ratio == pytest.approx(math.sqrt(8))
    half = 12.7062 * math.log(2) / 2
    assert math.log(found.low) == pytest.approx(math.log(8) / 2 - half, abs=1e-3)
    assert math.log(found.high) == pytest.approx(math.log(8) / 2 + half, abs=1e-3)


def test_one_seed_that_never_arrives_leaves_no_ratio():
    control = [(100.0, 0.1), (400.0, 0.5)]
    found = speedup([[(100.0, 0.3), (200.0, 0.5)], [(100.0, 0.3)]], [control, control], [0.0, 0.0])
    assert (found.ratio, found.reached, found.arm_costs[1]) == (None, 1, None)


@pytest.mark.parametrize(
    ("arm", "control", "bound"),
    [
        ([(10.0, 0.5)], [(50.0, 0.1), (100.0, 0.5)], "at least"),
        ([(10.0, 0.1), (20.0, 0.5)], [(50.0, 0.5), (100.0, 0.4)], "at most"),
        ([(10.0, 0.5)], [(50.0, 0.5)], None),
    ],
)
def test_a_first_reading_is_a_bound(arm, control, bound):
    found = speedup([arm], [control], [0.0])
    assert found.bound == bound
    assert (found.ratio is None) == (bound is None)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=12), st.floats(0.0, 0.2))
def test_a_control_is_as_fast_as_itself_or_faster(values, error):
    """It is charged up to its own reading, and what it falls below later does not count for it."""
    curve = [(float(cost), value) for cost, value in enumerate(values, 1)]
    cost, value = target(curve, error)
    before = [one for at, one in curve if at < cost]
    assert all(one < max(values) - error for one in before)
    assert value >= max(values) - error


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9], True),
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5, 0.505, 0.5], False),
        ([0.1, 0.2, 0.3, 0.4], None),  # two readings are the last third
        ([0.5] * 9, False),
        ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1], False),
    ],
)
def test_still_gaining(values, expected):
    curve = [(float(cost), value) for cost, value in enumerate(values)]
    assert still_gaining(curve, 0.01) is expected


def test_error_of_a_reading_is_of_images_or_of_seeds():
    """By hand: sqrt(0.5 x 0.5 / 100) = 0.05; two seeds 0.2 apart have a spread of 0.2 / sqrt(2)."""
    assert reading_error([[(1.0, 0.5)]], 100) == [pytest.approx(0.05)]
    assert reading_error([[(1.0, 0.5)]], None) == [0.0]
    assert reading_error([[(1.0, 0.4)], [(1.0, 0.6)]], 1000) == [pytest.approx(0.2 / math.sqrt(2))] * 2
