"""Grids of what a policy chose, over the world of conftest.py."""

import numpy as np

from winnow.pool.corruption import kinds_of_rows
from winnow.report.compare import grids


def test_grids_of_a_trace(world):
    """In the second half `chosen` took rows 1 (score 0.5) and 4 (2.0); it trained on four rows once each."""
    kinds = kinds_of_rows(world.pool)
    high, low, often = grids.of_trace(world.pool, world.traces["chosen"], kinds)
    assert [(t.label, t.note) for t in high.tiles] == [("cat", "2.00"), ("dogs & <co>", "0.500")]
    assert [t.note for t in low.tiles] == ["0.500", "2.00"]
    assert {t.note for t in often.tiles} == {"1 ×"}
    assert [t.corruption for t in often.tiles] == [None, "wrong_label", None, None]


def test_equal_scores_tell_nothing_apart(world):
    assert grids.scored(world.traces["chosen"])
    assert not grids.scored(world.traces["plain"])


def test_an_image_counts_once_with_its_extreme_score(world):
    world.trace("chosen", [0, 1, 2, 2, 3], [0, 0, 1, 2, 2], [9.0, 9.0, 1.0, 5.0, 0.0])
    clean = np.full(8, None, dtype=object)
    high, low, often = grids.of_trace(world.pool, world.traces["chosen"], clean, count=1)
    assert [t.note for t in high.tiles] == ["5.00"]
    assert [t.note for t in low.tiles] == ["0"]
    assert [t.note for t in often.tiles] == ["2 ×"]
