"""Pictures on a page: their size, and how they are drawn."""

import numpy as np
import pytest
from PIL import Image

from winnow.report.page.tiles import LARGEST, SIDE, fit, sample


def test_sample_depends_on_seed_and_keys_only():
    rows, keys = np.arange(20), [f"k{i}" for i in range(20)]
    chosen = sample(rows, keys, 5, 0)
    assert len(set(chosen)) == 5
    assert sample(rows[::-1], keys[::-1], 5, 0) == chosen
    assert sample(rows, keys, 5, 1) != chosen


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((28, 28), (56, 56)),
        ((8, 8), (56, 56)),
        ((30, 20), (60, 40)),
        ((64, 64), (64, 64)),
        ((400, 200), (LARGEST, LARGEST // 2)),
    ],
)
def test_pictures_are_brought_to_a_readable_size(size, expected):
    assert fit(Image.new("RGB", size)).size == expected
    assert SIDE == 56
