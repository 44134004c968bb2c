"""leakage: whole components of what leaks, against connected components by scipy."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from stages.filters import _neighbours, leakage, with_vectors


def table(vectors):
    return with_vectors(pa.table({"uid": [f"{i:032x}" for i in range(len(vectors))]}), "embedding", np.asarray(vectors, np.float32))


def circle(degrees):
    turns = np.radians(np.array(degrees, float))
    return np.stack([np.cos(turns), np.sin(turns)], 1).reshape(-1, 2)


def by_hand(pool, held_out, near, joined):
    _, component = connected_components(pool @ pool.T > joined, directed=False)
    leaks = (pool @ held_out.T > near).any(1) if len(held_out) else np.zeros(len(pool), bool)
    return ~np.isin(component, component[leaks])


def test_a_chain_goes_whole_and_what_is_not_joined_stays():
    # 0 leaks (cos 20 > 0.9); 30 hangs on 0 and 60 on 30 (cos 30 = 0.87 > 0.8); 120 hangs on nothing.
    answer = leakage.apply(table(circle([0, 30, 60, 120])), leakage.Config(near=0.9, joined=0.8), table(circle([-20])))
    assert answer["keep"].to_pylist() == [False, False, False, True]
    assert answer["reason"].to_pylist() == ["leakage", "leakage", "leakage", None]


steps = st.lists(st.integers(0, 35), max_size=20)


@settings(max_examples=60, deadline=None)
@given(steps, steps, st.sampled_from([5, 15, 25]), st.sampled_from([5, 15, 25]))
def test_it_is_connected_components(pool, held_out, near, joined):
    """Whole steps of 10 degrees, thresholds between them."""
    vectors, others = circle([10 * s for s in pool]), circle([10 * s for s in held_out])
    near, joined = np.cos(np.radians([near, joined])).tolist()
    expected = by_hand(vectors, others, near, joined).tolist()
    for neighbours in (None, 64):
        answer = leakage.apply(table(vectors), leakage.Config(near, joined, neighbours), table(others))
        assert answer["keep"].to_pylist() == expected


def test_blocks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((500, 6))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    pool, held_out = rows[:470], rows[470:]
    expected = by_hand(pool, held_out, 0.93, 0.9)
    assert 0 < expected.sum() < 470, "the case tells"
    for name, value in (("STEP", 16), ("QUERIES", 8), ("PART", 64)):
        monkeypatch.setattr(_neighbours, name, value)
    for neighbours in (None, 470):
        answer = leakage.apply(table(pool), leakage.Config(0.93, 0.9, neighbours), table(held_out))
        assert answer["keep"].to_pylist() == expected.tolist()


def test_a_row_leads_to_no_more_than_its_nearest():
    # From 0: 10 is nearest, then -20, then 30. With one neighbour 0 leads to 10 and 10 to 0, and the others stay.
    answer = leakage.apply(table(circle([0, 10, -20, 31])), leakage.Config(0.999, 0.8, neighbours=1), table(circle([0])))
    assert answer["keep"].to_pylist() == [False, False, True, True]


def test_nothing_held_out_drops_nothing():
    answer = leakage.apply(table(circle([0, 1])), leakage.Config(), table(circle([])))
    assert answer["keep"].to_pylist() == [True, True]


@pytest.mark.parametrize("settings_", [{"near": 2.0}, {"joined": -1.0}, {"neighbours": 0}])
def test_a_wrong_setting_is_one_line(settings_):
    with pytest.raises(ValueError, match=rf"^{next(iter(settings_))}: .*allowed"):
        leakage.Config(**settings_)
