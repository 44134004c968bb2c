"""retrieval: neighbours against a full sort, clusters against what they hold."""

import numpy as np
import pytest

from tests.vectors import embedded, random_units, unit
from winnow.clustering.kmeans_tree import assign, grow
from winnow.filters import retrieval
from winnow.filters.retrieval import Config


def retrieved(matrix, queries, config):
    answer = retrieval.apply(embedded(matrix), config, embedded(queries))
    assert set(answer["reason"].to_pylist()) <= {None, "not_retrieved"}
    return np.array(answer["keep"].to_pylist(), bool)


def full_sort(matrix, queries, count):
    return set(np.argsort(-(queries @ matrix.T), axis=1, kind="stable")[:, :count].ravel())


def test_sample_keeps_the_neighbours_of_each_image_of_the_reference():
    matrix, queries = random_units(200, 0), random_units(5, 1)
    kept = retrieved(matrix, queries, Config(neighbours=3))
    assert set(np.flatnonzero(kept)) == full_sort(matrix, queries, 3)


def test_most_keeps_first_neighbours_before_second_ones():
    matrix, queries = random_units(200, 0), random_units(5, 1)
    first = full_sort(matrix, queries, 1)
    kept = retrieved(matrix, queries, Config(neighbours=3, most=len(first)))
    assert set(np.flatnonzero(kept)) == first


@pytest.fixture(scope="module")
def four_clusters():
    """Rows of four clusters that lie apart, row i in cluster i % 4; and settings that find them.

    The settings have a seed, because the start of k-means is drawn.
    """
    rng = np.random.default_rng(0)
    matrix = unit(np.tile(np.eye(4, 8), (25, 1)) + rng.standard_normal((100, 8)) * 0.02)
    for seed in range(20):
        owner = assign(matrix, grow(matrix, 4, seed))[0][:, 0]
        if all(len(set(owner[i::4])) == 1 for i in range(4)) and len(set(owner)) == 4:
            return matrix, {"mode": "cluster", "clusters": 4, "seed": seed, "min_queries": 1}
    raise AssertionError("no seed of twenty finds four clusters that lie apart")


def test_cluster_keeps_the_clusters_that_enough_queries_fall_to(four_clusters):
    matrix, settings = four_clusters
    queries = matrix[[0, 4, 8, 1, 5, 2]]  # three in cluster 0, two in 1, one in 2
    kept = retrieved(matrix, queries, Config(**settings))
    assert [int(kept[i::4].sum()) for i in range(4)] == [25, 25, 0, 0]
    few = retrieved(matrix, queries, Config(**settings, per_cluster=7))
    assert [int(few[i::4].sum()) for i in range(4)] == [7, 7, 0, 0]
    capped = retrieved(matrix, queries, Config(**settings, per_cluster=7, most=10))
    assert capped.sum() == 10
    assert not (capped & ~few).any()


@pytest.mark.parametrize("mode", retrieval.MODES)
def test_no_reference_and_no_pool(mode):
    config, empty = Config(mode=mode), np.empty((0, 8))
    assert not retrieved(random_units(9, 0), empty, config).any()
    assert retrieved(empty, random_units(9, 0), config).tolist() == []
