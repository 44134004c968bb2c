"""How far a leak must stand out."""

import numpy as np
import pytest

from winnow.leakage import crowd


def test_standing_out_is_twice_fishers_z():
    values = np.linspace(0, 0.99, 50)
    expected = np.tanh(2 * np.arctanh(values))
    np.testing.assert_allclose(crowd.stands_out(values), expected, rtol=1e-12)


def test_the_crowd_is_what_a_quarter_of_the_candidates_reach():
    """Eight candidates: the second best is the crowd. Of three pictures the median has none."""
    bars = crowd.bars(np.array([0, 0, 0]), np.array([0.3, 0.8, 0.5]), count=3, keep=8)
    assert bars == pytest.approx([2 * 0.5 / 1.25, 0, 0])


def test_a_picture_with_many_copies_still_leaks_where_others_have_no_crowd():
    held = np.repeat([0], 8)
    assert crowd.bars(held, np.full(8, 0.97), count=20, keep=8)[0] == crowd.CERTAIN


def test_where_most_have_a_crowd_all_must_stand_out_from_it():
    held = np.repeat(np.arange(9), 8)
    bars = crowd.bars(held, np.full(72, 0.7), count=10, keep=8)
    assert bars == pytest.approx(np.full(10, 2 * 0.7 / 1.49))
