"""retrieval: neighbours against a full sort, clusters against what they hold."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.filters import _neighbours, retrieval, with_vectors
from stages.filters._neighbours import nearest
from stages.filters._work import Work


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def table(vectors):
    return with_vectors(pa.table({"uid": [f"{i:032x}" for i in range(len(vectors))]}), "embedding", np.asarray(vectors, np.float32))


def drawn(count, seed, width=8):
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def by_hand(matrix, queries, count):
    return np.argsort(-(queries @ matrix.T), axis=1, kind="stable")[:, :count]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 8))
def test_neighbours_are_those_of_a_full_sort(rows, queries, count):
    matrix, asked = drawn(rows, 0), drawn(queries, 1)
    found, fits = nearest(matrix, asked, count)
    assert found.tolist() == by_hand(matrix, asked, count).tolist()
    assert np.allclose(fits, np.take_along_axis(asked @ matrix.T, found, 1), atol=1e-6)


def test_neighbours_over_many_blocks_a_memmap_and_a_resume(tmp_path, monkeypatch):
    matrix, queries = drawn(3000, 0), drawn(50, 1)
    np.save(tmp_path / "x.npy", matrix)
    for name, value in (("PART", 700), ("QUERIES", 20), ("STEP", 256)):
        monkeypatch.setattr(_neighbours, name, value)
    disk = np.load(tmp_path / "x.npy", mmap_mode="r")
    for _ in range(2):
        assert nearest(disk, queries, 7, Work(tmp_path))[0].tolist() == by_hand(matrix, queries, 7).tolist()
    next(tmp_path.rglob("queries-000000020-rows-000000700.npz")).unlink()
    assert nearest(disk, queries, 7, Work(tmp_path))[0].tolist() == by_hand(matrix, queries, 7).tolist()


def test_of_equal_rows_the_first_is_nearer():
    matrix = np.tile(unit(np.ones((1, 4))), (20, 1))
    assert nearest(matrix, matrix[:1], 3)[0].tolist() == [[0, 1, 2]]


def test_sample_keeps_the_neighbours_of_each_image_of_the_reference():
    matrix, queries = drawn(200, 0), drawn(5, 1)
    answer = retrieval.apply(table(matrix), retrieval.Config(neighbours=3), table(queries))
    assert set(np.flatnonzero(answer["keep"])) == set(by_hand(matrix, queries, 3).ravel())
    assert set(answer["reason"].to_pylist()) == {None, "not_retrieved"}


def test_most_keeps_first_neighbours_before_second_ones():
    matrix, queries = drawn(200, 0), drawn(5, 1)
    first = set(by_hand(matrix, queries, 1).ravel())
    answer = retrieval.apply(table(matrix), retrieval.Config(neighbours=3, most=len(first)), table(queries))
    assert set(np.flatnonzero(answer["keep"])) == first


def apart(per_cluster):
    """Four clusters that lie apart, in turn: row i is in cluster i % 4."""
    rng = np.random.default_rng(0)
    return unit(np.tile(np.eye(4, 8), (per_cluster, 1)) + rng.standard_normal((4 * per_cluster, 8)) * 0.02)


def settings_that_find_four(matrix):
    """A seed from which k-means finds the four clusters: its start is drawn."""
    from stages.filters._clusters import assign, grow

    for seed in range(20):
        owner = assign(matrix, grow(matrix, 4, seed))[0][:, 0]
        if all(len(set(owner[i::4])) == 1 for i in range(4)) and len(set(owner)) == 4:
            return {"mode": "cluster", "clusters": 4, "seed": seed}
    raise AssertionError("no seed of twenty finds four clusters that lie apart")


def test_cluster_keeps_the_clusters_that_hold_more_than_so_many_queries():
    matrix = apart(25)
    found = settings_that_find_four(matrix)
    queries = np.concatenate([matrix[[0, 4, 8]], matrix[[1, 5]], matrix[[2]]])  # three in cluster 0, two in 1, one in 2
    keep = np.array(retrieval.apply(table(matrix), retrieval.Config(**found, min_queries=1), table(queries))["keep"])
    assert [int(keep[i::4].sum()) for i in range(4)] == [25, 25, 0, 0]
    keep = np.array(retrieval.apply(table(matrix), retrieval.Config(**found, min_queries=1, per_cluster=7), table(queries))["keep"])
    assert [int(keep[i::4].sum()) for i in range(4)] == [7, 7, 0, 0]
    capped = np.array(
        retrieval.apply(table(matrix), retrieval.Config(**found, min_queries=1, per_cluster=7, most=10), table(queries))["keep"]
    )
    assert capped.sum() == 10
    assert not (capped & ~keep).any()


@pytest.mark.parametrize("mode", retrieval.MODES)
def test_nothing_asked_or_nothing_there(mode):
    config = retrieval.Config(mode=mode)
    assert not any(retrieval.apply(table(drawn(9, 0)), config, table(np.empty((0, 8))))["keep"].to_pylist())
    assert retrieval.apply(table(np.empty((0, 8))), config, table(drawn(9, 0)))["keep"].to_pylist() == []


@pytest.mark.parametrize(
    "settings_", [{"mode": "x"}, {"neighbours": 0}, {"clusters": 0}, {"min_queries": -1}, {"per_cluster": 0}, {"most": 0}]
)
def test_a_wrong_setting_is_one_line(settings_):
    with pytest.raises(ValueError, match=rf"^{next(iter(settings_))}: .*allowed"):
        retrieval.Config(**settings_)
