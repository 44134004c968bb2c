"""Alignment: the cosine by hand, the fraction by sorting, rows without a caption."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import embedded
from winnow.filters import alignment, with_vectors

IMAGE = np.array([[1, 0], [1, 0], [0.6, 0.8], [0, 1], [1, 0]], np.float32)
TEXT = np.array([[1, 0], [0.6, 0.8], [-0.6, -0.8], [0, 0], [0.8, 0.6]], np.float32)
# cosines 1, 0.6, -1, no caption, 0.8


def reasons(image, text, **config):
    pool = with_vectors(embedded(image), "text_embedding", text)
    answer = alignment.apply(pool, alignment.Config(**config))
    assert [reason is None for reason in answer["reason"].to_pylist()] == answer["keep"].to_pylist()
    return answer["reason"].to_pylist()


def test_a_threshold():
    assert reasons(IMAGE, TEXT, threshold=0.7) == [None, "misaligned", "misaligned", "no_caption", None]


def test_a_fraction_is_of_the_rows_with_a_caption():
    assert reasons(IMAGE, TEXT, fraction=0.5) == [None, "misaligned", "misaligned", "no_caption", None]
    assert reasons(IMAGE, TEXT, fraction=0.51) == [None, None, "misaligned", "no_caption", None]
    assert reasons(IMAGE, TEXT, fraction=1.0) == [None, None, None, "no_caption", None]


def test_both_must_hold():
    found = reasons(IMAGE, TEXT, fraction=0.75, threshold=0.9)
    assert found == [None, "misaligned", "misaligned", "no_caption", "misaligned"]


def test_a_pool_without_captions_or_rows():
    assert reasons(IMAGE, np.zeros_like(TEXT), fraction=0.3) == ["no_caption"] * 5
    assert reasons(IMAGE[:0], TEXT[:0], fraction=0.3) == []


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    st.floats(0.01, 1),
    st.randoms(use_true_random=False),
)
def test_the_fraction_by_sorting_in_any_order_of_rows(scores, fraction, random):
    """Cosines of n/4: kept is what at most ceil(fraction n) - 1 others exceed."""
    text = np.array([[s / 4, math.sqrt(1 - (s / 4) ** 2)] for s in scores], np.float32)
    image = np.tile(np.array([1, 0], np.float32), (len(scores), 1))
    order = random.sample(range(len(scores)), len(scores))
    found = reasons(image, text[order], fraction=fraction)
    count = math.ceil(round(fraction * len(scores), 9))
    for reason, row in zip(found, order, strict=True):
        above = sum(other > scores[row] for other in scores)
        assert (reason is None) == (above < count)
