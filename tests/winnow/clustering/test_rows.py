"""Rows of a matrix: finite ones alone, and their ranks within groups."""

import numpy as np
import pytest

from tests.vectors import unit
from winnow.clustering.rows import rank_in_group, take


def test_rows_that_are_not_finite_are_an_error():
    rows = unit(np.ones((3, 4)))
    rows[1, 2] = np.nan
    assert take(rows, slice(0, 1)).tolist() == rows[:1].tolist()
    with pytest.raises(ValueError, match="embedding: some values are not finite"):
        take(rows, slice(0, 3))


def test_ranks_start_anew_in_each_group():
    assert rank_in_group(np.array([0, 0, 0, 2, 7, 7])).tolist() == [0, 1, 2, 0, 0, 1]
