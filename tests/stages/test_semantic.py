"""semantic_duplicate and the clusters below it: brute force on small pools, planted copies on larger ones, a kill and its resume."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components

from stages.filters import _clusters, _pairs, semantic_duplicate, with_vectors
from stages.filters._clusters import Tree, assign, grow, kmeans, share, take
from stages.filters._pairs import components, distinct, greedy
from stages.filters._work import Work


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def table(vectors):
    return with_vectors(pa.table({"uid": [f"{i:032x}" for i in range(len(vectors))]}), "embedding", vectors)


def planted(count, seed=0, width=64):
    """A mixture of 40 Gaussians on the sphere, the last tenth of the rows near copies (cosine 0.97 to 0.999) of other rows."""
    rng = np.random.default_rng(seed)
    plain = count - count // 10
    rows = unit(unit(rng.standard_normal((40, width)))[rng.integers(40, size=plain)] + rng.standard_normal((plain, width)) / width**0.5)
    of = rng.choice(plain, count - plain, replace=False)
    away = rng.standard_normal((count - plain, width))
    away = unit(away - (away * rows[of]).sum(1, keepdims=True) * rows[of])
    cosine = rng.uniform(0.97, 0.999, (count - plain, 1))
    copies = cosine * rows[of] + np.sqrt(1 - cosine**2) * away
    return np.concatenate([rows, unit(copies)]), np.stack([of, np.arange(plain, count)], 1)


def by_hand(similar, way):
    if way == "components":
        _, component = connected_components(similar, directed=False)
        return [row == int(np.flatnonzero(component == component[row])[0]) for row in range(len(similar))]
    kept = []
    for row in range(len(similar)):
        kept.append(not any(kept[before] and similar[row, before] for before in range(row)))
    return kept


# Angles on a circle in whole steps of 10 degrees, and a threshold between steps, so that no cosine is near it.
angles = st.lists(st.integers(0, 35), min_size=1, max_size=24)


@settings(max_examples=60, deadline=None)
@given(angles, st.sampled_from([5, 15, 25, 35]), st.sampled_from(["greedy", "components"]))
def test_a_small_pool_is_as_by_hand(places, reach, way):
    turns = np.radians(10.0 * np.array(places))
    vectors = np.stack([np.cos(turns), np.sin(turns)], 1).astype(np.float32)
    threshold = float(np.cos(np.radians(reach)))
    answer = semantic_duplicate.apply(table(vectors), semantic_duplicate.Config(max_similarity=threshold, way=way))
    assert answer["keep"].to_pylist() == by_hand(vectors @ vectors.T >= threshold, way)
    assert {reason for reason in answer["reason"].to_pylist() if reason} <= {"semantic_duplicate"}


def test_greedy_keeps_the_end_of_a_chain_and_components_do_not():
    turns = np.radians([0.0, 10.0, 20.0])
    vectors = np.stack([np.cos(turns), np.sin(turns)], 1).astype(np.float32)
    assert distinct(vectors, 0.98, way="greedy").tolist() == [True, False, True]  # cos 10 = 0.985, cos 20 = 0.94
    assert distinct(vectors, 0.98, way="components").tolist() == [True, False, False]


def test_far_and_near_keep_by_the_distance_to_the_centroid():
    rows = unit(np.array([[1, 0.02], [1, 0.0], [1, -0.02], [1, 0.1]]))  # the centroid lies near (1, 0.025)
    assert distinct(rows, 0.99, clusters=1, keep="near").tolist() == [True, False, False, False]
    assert distinct(rows, 0.99, clusters=1, keep="far").tolist() == [False, False, False, True]


@pytest.fixture(params=[0, _clusters.EXACT])
def any_size(request, monkeypatch):
    """By way of the cells as with many leaves, and without them."""
    monkeypatch.setattr(_clusters, "EXACT", request.param)


@pytest.mark.usefixtures("any_size")
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_planted_copies_go_and_nothing_else(tmp_path, dtype):
    vectors, pairs = planted(20_000)
    np.save(tmp_path / "x.npy", vectors.astype(dtype))
    kept = distinct(np.load(tmp_path / "x.npy", mmap_mode="r"), 0.95)
    gone = np.flatnonzero(~kept)
    assert (~kept)[pairs[:, 1]].mean() >= 0.99
    assert np.isin(gone, pairs[:, 1]).mean() >= 0.99


@pytest.mark.usefixtures("any_size")
def test_of_rows_that_stay_few_are_near_and_what_goes_has_a_near_row_that_stays():
    vectors, _ = planted(6000)
    kept = distinct(vectors, 0.9)
    similar = vectors @ vectors[kept].T >= 0.9
    assert similar[~kept].any(1).all()
    assert (similar[kept].sum(1) > 1).mean() < 0.005


def test_a_mass_of_copies_leaves_one(monkeypatch):
    """More rows in one leaf than are compared all with all."""
    monkeypatch.setattr(_pairs, "WHOLE", 64)
    vectors = np.concatenate([np.tile(unit(np.ones((1, 8))), (1000, 1)), np.eye(8, dtype=np.float32)])
    assert np.flatnonzero(distinct(vectors, 0.95)).tolist() == [0, *range(1000, 1008)]
    assert np.flatnonzero(distinct(vectors, 0.95, way="components")).tolist() == [0, *range(1000, 1008)]


@pytest.mark.parametrize("turn", [1.0, 3.0, 7.3])
def test_a_crowded_leaf_is_as_by_hand(monkeypatch, turn):
    """Far more near rows than a row remembers, and more rows than are compared all with all: greedy needs but the leaders."""
    turns = np.radians(np.random.default_rng(0).uniform(0, 90, 600))
    vectors = np.stack([np.cos(turns), np.sin(turns)], 1).astype(np.float32)
    expected = by_hand(vectors @ vectors.T >= np.cos(np.radians(turn)), "greedy")
    for whole in (2048, 600, 100, 7):
        monkeypatch.setattr(_pairs, "WHOLE", whole)
        assert distinct(vectors, float(np.cos(np.radians(turn))), clusters=1).tolist() == expected


RUN = """
import sys, numpy as np
from pathlib import Path
from stages.filters._pairs import distinct
from stages.filters._work import Work
left = [int(sys.argv[3])]
def track(items, total, description):
    for item in items:
        left[0] -= 1
        if not left[0]:
            import os; os._exit(9)
        yield item
work = Work(Path(sys.argv[2]), track) if sys.argv[2] else Work()
np.save(sys.argv[4], distinct(np.load(sys.argv[1], mmap_mode="r"), 0.95, work=work))
"""


def run(matrix, folder, parts, out, threads=1):
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    return subprocess.run([sys.executable, "-c", RUN, matrix, folder, str(parts), out], env=env).returncode


def test_a_killed_run_goes_on_and_threads_change_nothing(tmp_path):
    vectors, _ = planted(70_000, width=16)
    matrix = str(tmp_path / "x.npy")
    np.save(matrix, vectors)
    assert run(matrix, "", -1, tmp_path / "plain.npy", threads=2) == 0
    assert run(matrix, str(tmp_path / "work"), 12, tmp_path / "killed.npy") == 9
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "work").rglob("*.npz")}
    assert made
    assert run(matrix, str(tmp_path / "work"), -1, tmp_path / "again.npy") == 0
    assert {path: path.stat().st_mtime_ns for path in made} == made, "finished parts are not done again"
    assert (tmp_path / "again.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()


def test_another_matrix_or_setting_does_not_take_up_the_parts(tmp_path):
    first, second = planted(200, seed=1)[0], planted(200, seed=2)[0]
    for vectors, threshold in ((first, 0.95), (second, 0.95), (first, 0.5)):
        assert distinct(vectors, threshold, work=Work(tmp_path)).tolist() == distinct(vectors, threshold).tolist()


def test_kmeans_finds_clusters_that_lie_apart():
    rng = np.random.default_rng(0)
    owner = rng.integers(4, size=400)
    points = unit(np.eye(4, 8)[owner] + rng.standard_normal((400, 8)) * 0.02)
    for seed in range(5):
        found = (points @ kmeans(points, 4, seed, 20).T).argmax(1)
        if len({(a, b) for a, b in zip(owner, found, strict=True)}) == 4:
            return
    pytest.fail("no seed of five finds four clusters that lie apart")


@pytest.mark.usefixtures("any_size")
def test_assignment_with_all_cells_probed_is_exact():
    vectors, _ = planted(3000)
    tree = grow(vectors, 200)
    leaves, fits = assign(vectors, tree, ways=2, probes=len(tree.cells))
    similarities = vectors @ tree.leaves.T
    best = np.sort(similarities, axis=1)[:, ::-1][:, :2]
    assert tree.leaves.shape == (200, 64)
    assert np.allclose(fits, best, atol=1e-5)
    assert np.allclose(np.take_along_axis(similarities, leaves.astype(int), 1), best, atol=1e-5)


@pytest.mark.usefixtures("any_size")
def test_a_row_has_no_more_leaves_than_there_are():
    rows = unit(np.random.default_rng(0).standard_normal((10, 4)))
    leaves, _ = assign(rows, grow(rows, 1), ways=3)
    assert leaves.tolist() == [[0, -1, -1]] * 10
    two = Tree(rows[:2], rows[:2], np.array([0, 1, 2]))
    assert (assign(rows, two, ways=3, probes=2)[0][:, 2] == -1).all()


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_clusters_are_shared_by_size(sizes, data):
    wanted = data.draw(st.integers(len(sizes), sum(sizes)))
    given_ = share(wanted, np.array(sizes))
    assert given_.sum() == wanted
    assert ((given_ >= 1) & (given_ <= sizes)).all()


@given(st.integers(1, 12), st.data())
def test_greedy_and_components_by_pairs_are_as_by_hand(count, data):
    places = (
        st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).map(lambda p: (max(p), min(p))).filter(lambda p: p[0] != p[1])
    )
    pairs = data.draw(st.lists(places, max_size=20)) if count > 1 else []
    order = np.array(data.draw(st.permutations(range(count))))
    similar = np.eye(count, dtype=bool)
    for later, earlier in pairs:
        similar[later, earlier] = similar[earlier, later] = True
    array = np.array(pairs, np.int32).reshape(-1, 2)
    assert greedy(array, order)[order].tolist() == by_hand(similar, "greedy")
    assert components(array, order)[order].tolist() == by_hand(similar, "components")


def test_an_empty_pool_and_a_pool_of_one():
    config = semantic_duplicate.Config()
    assert semantic_duplicate.apply(table(np.empty((0, 4), np.float32)), config)["keep"].to_pylist() == []
    assert semantic_duplicate.apply(table(unit(np.ones((1, 4)))), config)["keep"].to_pylist() == [True]


def test_rows_that_are_not_finite_are_an_error():
    rows = unit(np.ones((3, 4)))
    rows[1, 2] = np.nan
    with pytest.raises(ValueError, match="embedding: some values are not finite"):
        take(rows, slice(0, 3))
    with pytest.raises(ValueError, match="embedding"):
        distinct(rows, 0.9)


@pytest.mark.parametrize(
    ("settings_", "word"),
    [({"max_similarity": 1.5}, "max_similarity"), ({"keep": "last"}, "keep"), ({"way": "x"}, "way"), ({"clusters": 0}, "clusters")],
)
def test_a_wrong_setting_is_one_line(settings_, word):
    with pytest.raises(ValueError, match=rf"^{word}: .*allowed"):
        semantic_duplicate.Config(**settings_)
