"""Near rows: brute force on small pools, planted copies on larger ones, an interrupted run and its resume."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from tests.vectors import circle, planted, unit
from winnow.clustering import pairs
from winnow.clustering.pairs import components, distinct, greedy


def brute_force(similar, way):
    if way == "components":
        _, component = connected_components(similar, directed=False)
        return [row == int(np.flatnonzero(component == component[row])[0]) for row in range(len(similar))]
    kept = []
    for row in range(len(similar)):
        kept.append(not any(kept[before] and similar[row, before] for before in range(row)))
    return kept


# Whole steps of 10 degrees, and a threshold between steps, so that no cosine is near it.
angles = st.lists(st.integers(0, 35).map(lambda step: 10 * step), min_size=1, max_size=24)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(angles, st.sampled_from([5, 15, 25, 35]), st.sampled_from(pairs.WAYS))
def test_a_small_pool_is_as_by_brute_force(angles, reach, way):
    vectors, threshold = circle(angles), float(np.cos(np.radians(reach)))
    assert distinct(vectors, threshold, way=way).tolist() == brute_force(
        vectors @ vectors.T >= threshold, way
    )


def test_greedy_keeps_the_end_of_a_chain_and_components_do_not():
    vectors = circle([0, 10, 20])  # cos 10 = 0.985, cos 20 = 0.94
    assert distinct(vectors, 0.98, way="greedy").tolist() == [True, False, True]
    assert distinct(vectors, 0.98, way="components").tolist() == [True, False, False]


def test_far_and_near_keep_by_the_distance_to_the_centroid():
    rows = unit(np.array([[1, 0.02], [1, 0.0], [1, -0.02], [1, 0.1]]))  # the centroid lies near (1, 0.025)
    assert distinct(rows, 0.99, clusters=1, keep="near").tolist() == [True, False, False, False]
    assert distinct(rows, 0.99, clusters=1, keep="far").tolist() == [False, False, False, True]


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_planted_copies_go_and_nothing_else(tmp_path, dtype):
    vectors, copies = planted(20_000)
    np.save(tmp_path / "x.npy", vectors.astype(dtype))
    kept = distinct(np.load(tmp_path / "x.npy", mmap_mode="r"), 0.95)
    assert (~kept)[copies[:, 1]].mean() >= 0.99
    assert np.isin(np.flatnonzero(~kept), copies[:, 1]).mean() >= 0.99


@pytest.mark.usefixtures("any_size")
def test_of_rows_that_stay_few_are_near_and_what_goes_has_a_near_row_that_stays():
    vectors, _ = planted(6000)
    kept = distinct(vectors, 0.9)
    similar = vectors @ vectors[kept].T >= 0.9
    assert similar[~kept].any(1).all()
    assert (similar[kept].sum(1) > 1).mean() < 0.005


@pytest.mark.parametrize("way", pairs.WAYS)
def test_many_copies_in_one_leaf_leave_one(monkeypatch, way):
    """More rows in one leaf than are compared all with all."""
    monkeypatch.setattr(pairs, "WHOLE", 64)
    vectors = np.concatenate([np.tile(unit(np.ones((1, 8))), (1000, 1)), np.eye(8, dtype=np.float32)])
    assert np.flatnonzero(distinct(vectors, 0.95, way=way)).tolist() == [0, *range(1000, 1008)]


@pytest.mark.parametrize("degrees", [1.0, 3.0, 7.3])
def test_a_crowded_leaf_is_as_by_brute_force(monkeypatch, degrees):
    """Far more near rows than a row remembers, and more rows than are compared all with all: for greedy the
    leaders are enough.
    """
    vectors = circle(np.random.default_rng(0).uniform(0, 90, 600))
    threshold = float(np.cos(np.radians(degrees)))
    expected = brute_force(vectors @ vectors.T >= threshold, "greedy")
    for whole in (2048, 600, 100, 7):
        monkeypatch.setattr(pairs, "WHOLE", whole)
        assert distinct(vectors, threshold, clusters=1).tolist() == expected


@given(st.integers(1, 12), st.data())
def test_greedy_and_components_of_pairs_are_as_by_brute_force(count, data):
    position = st.integers(0, count - 1)
    pair = st.tuples(position, position).filter(lambda p: p[0] != p[1]).map(lambda p: (max(p), min(p)))
    drawn = data.draw(st.lists(pair, max_size=20)) if count > 1 else []
    order = np.array(data.draw(st.permutations(range(count))))
    similar = np.eye(count, dtype=bool)
    for later, earlier in drawn:
        similar[later, earlier] = similar[earlier, later] = True
    array = np.array(drawn, np.int32).reshape(-1, 2)
    assert greedy(array, order)[order].tolist() == brute_force(similar, "greedy")
    assert components(array, order)[order].tolist() == brute_force(similar, "components")


def test_an_empty_pool_and_a_pool_of_one():
    assert distinct(np.empty((0, 4), np.float32), 0.95).tolist() == []
    assert distinct(unit(np.ones((1, 4))), 0.95).tolist() == [True]


RUN = """
import os, sys, numpy as np
from pathlib import Path
from winnow.clustering.pairs import distinct
from winnow.clustering.part_cache import NO_CACHE, PartCache
left = [int(sys.argv[3])]
def track(items, total, description):
    for item in items:
        left[0] -= 1
        if not left[0]:
            os._exit(9)
        yield item
cache = PartCache(Path(sys.argv[2]), track) if sys.argv[2] else NO_CACHE
np.save(sys.argv[4], distinct(np.load(sys.argv[1], mmap_mode="r"), 0.95, cache=cache))
"""


def run(matrix, folder, parts, out, threads=1):
    """The exit status of a process that ends itself after so many parts."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    return subprocess.run([sys.executable, "-c", RUN, matrix, folder, str(parts), out], env=env).returncode


@pytest.mark.slow
def test_a_killed_run_resumes_and_threads_change_nothing(tmp_path):
    vectors, _ = planted(70_000, width=16)
    matrix = str(tmp_path / "x.npy")
    np.save(matrix, vectors)
    assert run(matrix, "", -1, tmp_path / "plain.npy", threads=2) == 0
    assert run(matrix, str(tmp_path / "parts"), 12, tmp_path / "killed.npy") == 9
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("*.npz")}
    assert made
    assert run(matrix, str(tmp_path / "parts"), -1, tmp_path / "resumed.npy") == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made, "finished parts are not computed again"
    assert (tmp_path / "resumed.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()
