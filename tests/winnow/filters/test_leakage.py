"""leakage: whole components of what leaks, against connected components by scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from tests.vectors import circle, embedded
from winnow.filters import leakage
from winnow.filters.leakage import Config


def brute_force(pool, held_out, near, joined):
    _, component = connected_components(pool @ pool.T > joined, directed=False)
    leaks = (pool @ held_out.T > near).any(1) if len(held_out) else np.zeros(len(pool), bool)
    return ~np.isin(component, component[leaks])


def test_a_chain_goes_whole_and_what_is_not_connected_stays():
    # 0 leaks (cos 20 > 0.9); 30 is near to 0 and 60 to 30 (cos 30 = 0.87 > 0.8); 120 is near to nothing.
    config = Config(near=0.9, joined=0.8)
    answer = leakage.apply(embedded(circle([0, 30, 60, 120])), config, embedded(circle([-20])))
    assert answer["keep"].to_pylist() == [False, False, False, True]
    assert answer["reason"].to_pylist() == ["leakage", "leakage", "leakage", None]


steps = st.lists(st.integers(0, 35).map(lambda step: 10 * step), max_size=20)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(steps, steps, st.sampled_from([5, 15, 25]), st.sampled_from([5, 15, 25]))
def test_it_is_connected_components(pool, held_out, near, joined):
    """Whole steps of 10 degrees, thresholds between them."""
    vectors, others = circle(pool), circle(held_out)
    near, joined = np.cos(np.radians([near, joined])).tolist()
    expected = brute_force(vectors, others, near, joined).tolist()
    for neighbours in (None, 64):
        answer = leakage.apply(embedded(vectors), Config(near, joined, neighbours), embedded(others))
        assert answer["keep"].to_pylist() == expected


def test_nothing_held_out_drops_nothing():
    answer = leakage.apply(embedded(circle([0, 1])), Config(), embedded(circle([])))
    assert answer["keep"].to_pylist() == [True, True]
