"""Alignment: the cosine by hand, the fraction by sorting, rows without a caption."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.filters import alignment, with_vectors

IMAGE = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1], [1, 0]], np.float32)
TEXT = np.array([[1, 0], [0.6, 0.8], [-0.6, -0.8], [0, 0], [0.8, 0.6]], np.float32)  # cosines 1, 0.6, -1, no caption, 0.8


def table(image, text):
    pool = pa.table({"uid": pa.array([f"{i:032x}" for i in range(len(image))], pa.string())})
    return with_vectors(with_vectors(pool, "embedding", image), "text_embedding", text)


def reasons(image, text, **config):
    answer = alignment.apply(table(image, text), alignment.Config(**config))
    assert [reason is None for reason in answer["reason"].to_pylist()] == answer["keep"].to_pylist()
    return answer["reason"].to_pylist()


def test_a_threshold():
    assert reasons(IMAGE, TEXT, threshold=0.7) == [None, "misaligned", "misaligned", "no_caption", None]


def test_a_fraction_is_of_the_rows_with_a_caption():
    assert reasons(IMAGE, TEXT, fraction=0.5) == [None, "misaligned", "misaligned", "no_caption", None]
    assert reasons(IMAGE, TEXT, fraction=0.51) == [None, None, "misaligned", "no_caption", None]
    assert reasons(IMAGE, TEXT, fraction=1.0) == [None, None, None, "no_caption", None]


def test_both_must_hold():
    assert reasons(IMAGE, TEXT, fraction=0.75, threshold=0.9) == [None, "misaligned", "misaligned", "no_caption", "misaligned"]


def test_a_pool_without_captions_or_rows():
    assert reasons(IMAGE, np.zeros_like(TEXT), fraction=0.3) == ["no_caption"] * 5
    assert reasons(IMAGE[:0], TEXT[:0], fraction=0.3) == []


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=12), st.floats(0.01, 1), st.randoms(use_true_random=False))
def test_the_fraction_by_sorting_in_any_order_of_rows(scores, fraction, random):
    """Cosines of n/4: kept is what at most ceil(fraction n) - 1 others exceed."""
    text = np.array([[s / 4, math.sqrt(1 - (s / 4) ** 2)] for s in scores], np.float32)
    image = np.tile(np.array([1, 0], np.float32), (len(scores), 1))
    order = random.sample(range(len(scores)), len(scores))
    found = reasons(image, text[order], fraction=fraction)
    wanted = math.ceil(round(fraction * len(scores), 9))
    for place, row in enumerate(order):
        above = sum(other > scores[row] for other in scores)
        assert (found[place] is None) == (above < wanted)


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ({}, "threshold: null and fraction: null"),
        ({"threshold": 30.0}, "threshold: 30.0 is no cosine; allowed: -1 to 1"),
        ({"fraction": 30.0}, "fraction: 30.0 is out of range; allowed: above 0, to 1"),
        ({"fraction": 0.0}, "fraction: 0.0 is out of range"),
    ],
)
def test_a_mistake_is_one_line(config, line):
    with pytest.raises(ValueError, match=line) as error:
        alignment.Config(**config)
    assert "\n" not in str(error.value)
