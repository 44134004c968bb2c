"""k-means on the sphere finds clusters that lie apart, and refuses more clusters than points."""

import numpy as np
import pytest

from tests.vectors import random_units, unit
from winnow.clustering.kmeans import closest, kmeans


def test_clusters_that_lie_apart_are_found():
    rng = np.random.default_rng(0)
    owner = rng.integers(4, size=400)
    points = unit(np.eye(4, 8)[owner] + rng.standard_normal((400, 8)) * 0.02)
    for seed in range(5):
        found = (points @ kmeans(points, 4, seed, 20).T).argmax(1)
        if len({(a, b) for a, b in zip(owner, found, strict=True)}) == 4:
            return
    pytest.fail("no seed of five finds four clusters that lie apart")


def test_the_closest_centroids_are_those_of_a_full_sort():
    points, centroids = random_units(50, 0), random_units(7, 1)
    columns, similarities = closest(points, centroids, 3)
    expected = np.argsort(-(points @ centroids.T), axis=1, kind="stable")[:, :3]
    assert columns.tolist() == expected.tolist()
    assert np.allclose(similarities, np.take_along_axis(points @ centroids.T, expected, 1), atol=1e-6)


def test_more_clusters_than_points_is_one_line():
    with pytest.raises(ValueError, match="^clusters: 4 of 3 points; ask for 3 or fewer"):
        kmeans(random_units(3, 0), 4, 0, 5)
