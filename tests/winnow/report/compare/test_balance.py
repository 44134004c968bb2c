"""Class balance, counted by hand: the version holds rows 0 to 4, with the labels 0, 1, 0, 1, 0."""

import numpy as np

from winnow.report.compare import balance


def test_shares_of_the_pool_version_and_of_what_was_trained_on(world):
    found = balance.read(world.pool, world.workspace, world.traces)
    assert found.names == ["cat", "dogs & <co>"]
    np.testing.assert_allclose(found.pool, [0.6, 0.4])
    np.testing.assert_allclose(found.arms["plain"], [0.75, 0.25])  # rows 0 1 2 3 0 0 4 4
    np.testing.assert_allclose(found.arms["chosen"], [0.75, 0.25])  # rows 0 2 1 4


def test_only_the_most_frequent_classes_are_shown(world):
    assert balance.read(world.pool, world.workspace, world.traces, most=1).names == ["cat"]
