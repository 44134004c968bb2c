"""Neighbours against a full sort, and what spreads from row to row against connected components by scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from tests.vectors import circle, random_units, unit
from winnow.clustering import neighbours
from winnow.clustering.neighbours import near_any, nearest, spread
from winnow.clustering.part_cache import PartCache


def full_sort(matrix, queries, count):
    return np.argsort(-(queries @ matrix.T), axis=1, kind="stable")[:, :count]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 8))
def test_neighbours_are_those_of_a_full_sort(rows, queries, count):
    matrix, asked = random_units(rows, 0), random_units(queries, 1)
    found, similarities = nearest(matrix, asked, count)
    assert found.tolist() == full_sort(matrix, asked, count).tolist()
    assert np.allclose(similarities, np.take_along_axis(asked @ matrix.T, found, 1), atol=1e-6)


@pytest.fixture
def small_blocks(monkeypatch):
    for name, value in (("PART", 700), ("QUERIES", 20), ("STEP", 256)):
        monkeypatch.setattr(neighbours, name, value)


@pytest.mark.usefixtures("small_blocks")
def test_neighbours_over_many_blocks_of_a_memmap_and_after_an_interrupted_run(tmp_path):
    matrix, queries = random_units(3000, 0), random_units(50, 1)
    np.save(tmp_path / "x.npy", matrix)
    disk, expected = np.load(tmp_path / "x.npy", mmap_mode="r"), full_sort(matrix, queries, 7).tolist()
    assert nearest(disk, queries, 7, PartCache(tmp_path))[0].tolist() == expected
    next(tmp_path.rglob("queries-000000020-rows-000000700.npz")).unlink()
    assert nearest(disk, queries, 7, PartCache(tmp_path))[0].tolist() == expected


def test_of_equal_rows_the_first_is_nearer():
    matrix = np.tile(unit(np.ones((1, 4))), (20, 1))
    assert nearest(matrix, matrix[:1], 3)[0].tolist() == [[0, 1, 2]]


def test_no_rows_and_no_queries():
    empty, some = np.empty((0, 8), np.float32), random_units(3, 0)
    assert [part.shape for part in nearest(empty, some, 2)] == [(3, 0), (3, 0)]
    assert len(nearest(some, empty, 2)[0]) == 0
    assert near_any(some, empty, 0.5).tolist() == [False] * 3


def components(vectors, seeds, threshold):
    _, component = connected_components(vectors @ vectors.T > threshold, directed=False)
    return np.isin(component, component[seeds]).tolist()


steps = st.lists(st.integers(0, 35).map(lambda step: 10 * step), max_size=20)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(steps, st.sampled_from([5, 15, 25]), st.data())
def test_without_a_limit_whole_components_are_reached(angles, reach, data):
    """Whole steps of 10 degrees, and a threshold between them; no row has 64 neighbours."""
    vectors, threshold = circle(angles), float(np.cos(np.radians(reach)))
    seeds = np.array(data.draw(st.lists(st.booleans(), min_size=len(angles), max_size=len(angles))), bool)
    for limit in (None, 64):
        assert spread(vectors, seeds, threshold, limit).tolist() == components(vectors, seeds, threshold)


@pytest.mark.slow
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("limit", [None, 900])
def test_blocks_change_nothing_of_what_is_reached(limit):
    vectors, seeds = random_units(900, 0, width=6), np.arange(900) < 30
    expected = components(vectors, seeds, 0.92)
    assert 30 < sum(expected) < 900
    assert spread(vectors, seeds, 0.92, limit).tolist() == expected


def test_a_row_leads_to_no_more_than_its_nearest():
    # From 0: 10 is nearest, then -20, then 31. With one neighbour 0 leads to 10 and 10 to 0.
    vectors = circle([0, 10, -20, 31])
    assert spread(vectors, np.array([True, False, False, False]), 0.8, 1).tolist() == [
        True,
        True,
        False,
        False,
    ]
