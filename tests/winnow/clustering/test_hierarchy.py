"""Balanced sampling: quotas by brute force, the balance at each node as a property, levels as clusterings."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.vectors import unit
from winnow.clustering.hierarchy import Level, hierarchy, nearest_members, quotas, sample


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4), st.integers(0, 16))
def test_quotas_are_the_evenest_by_brute_force(sizes, target):
    """Of all ways to split the target, that of the least sum of squares, which is unique up to priority."""
    target = min(target, sum(sizes))
    ways = [way for way in product(*(range(size + 1) for size in sizes)) if sum(way) == target]
    found = quotas(np.array(sizes), target, np.arange(len(sizes)))
    assert tuple(found.tolist()) in ways
    assert (found**2).sum() == min(sum(n * n for n in way) for way in ways)


@pytest.mark.slow
@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=50), st.data())
def test_quotas_are_exact_and_differ_by_one_unless_exhausted(sizes, data):
    target, priority = data.draw(st.integers(0, sum(sizes))), data.draw(st.permutations(range(len(sizes))))
    found = quotas(np.array(sizes), target, np.array(priority))
    assert found.sum() == target
    assert ((found >= 0) & (found <= sizes)).all()
    left = found[found < sizes]
    assert not len(left) or (found.max() - left.min() <= 1)


def test_the_group_of_the_smallest_priority_gives_one_more():
    assert quotas(np.array([5, 5, 5]), 7, np.array([2, 0, 1])).tolist() == [2, 3, 2]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.integers(1, 8), st.integers(1, 3), st.data())
def test_sampling_is_balanced_at_every_node(rows, middle, top, data):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    low = np.unique(rng.integers(middle, size=rows), return_inverse=True)[1]
    high = np.unique(rng.integers(top, size=low.max() + 1), return_inverse=True)[1]
    target = data.draw(st.integers(0, rows))
    kept = sample([low, high], target, np.arange(rows), seed=1)
    assert kept.sum() == target
    nodes = [(low, np.flatnonzero(high == node)) for node in range(high.max() + 1)]
    for labels, groups in [(high[low], np.arange(high.max() + 1)), *nodes]:
        drawn = np.array([kept[labels == group].sum() for group in groups])
        sizes = np.array([(labels == group).sum() for group in groups])
        left = drawn[drawn < sizes]
        assert not len(left) or drawn.max() - left.min() <= 1


def test_of_a_cluster_the_rows_of_the_smallest_priority_are_drawn():
    assignment = np.array([0, 0, 0, 1, 1, 1])
    drawn = sample([assignment], 4, np.array([2, 1, 0, 5, 4, 3]), 0)
    assert np.flatnonzero(drawn).tolist() == [1, 2, 4, 5]


def test_nearest_members_are_the_most_similar_of_each_cluster():
    assignment, similarities = np.array([0, 1, 0, 1, 0]), np.array([0.1, 0.2, 0.9, 0.3, 0.5])
    assert nearest_members(assignment, similarities, 2).tolist() == [1, 2, 3, 4]


def test_levels_are_clusterings_of_the_level_below():
    rng = np.random.default_rng(0)
    centres = np.eye(3, 16)[np.repeat(np.arange(3), [300, 100, 50])]
    vectors = unit(centres + rng.standard_normal((450, 16)) * 0.05)
    found = hierarchy(vectors, [Level(60, 1, 3), Level(6, 3, 2), Level(2)])
    for below, level in zip([vectors, *(one.centroids for one in found)], found, strict=False):
        assert level.assignment.shape == (len(below),)
        products = below @ level.centroids.T
        assert np.allclose(products[np.arange(len(below)), level.assignment], level.similarities, atol=1e-5)
        assert (level.assignment == products.argmax(1)).all(), "few clusters are all compared"


def test_more_clusters_than_points_is_one_line():
    with pytest.raises(ValueError, match=r"^levels: 9 clusters of 5 points; ask for 5 or fewer"):
        hierarchy(unit(np.ones((5, 3))), [Level(9)])
