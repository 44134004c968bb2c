"""Filters: a row for every row, the stated ones dropped; near duplicates by brute force."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from stages.data.images import HASH_BITS, statistics
from stages.filters import aspect, blank, blur, decide, exact_duplicate, exposure, near_duplicate, tiny


def table(**columns):
    n = len(next(iter(columns.values())))
    return pa.table({"uid": columns.pop("uid", [f"{i:032x}" for i in range(n)]), **columns})


def kept(answer):
    assert answer.column_names == ["uid", "keep", "reason"]
    keep = answer["keep"].to_pylist()
    assert [reason is None for reason in answer["reason"].to_pylist()] == keep, "a drop always has a reason"
    return keep


def test_tiny_looks_at_the_shorter_side():
    pool = table(width=[8, 7, 100, 8], height=[8, 100, 7, 9])
    assert kept(tiny.apply(pool, tiny.Config(min_side=8))) == [True, False, False, True]


def test_blank_looks_at_the_spread():
    assert kept(blank.apply(table(std=[0.0, 3.9, 4.0]), blank.Config(min_std=4.0))) == [False, False, True]


def test_aspect_looks_at_the_longer_side_over_the_shorter():
    pool = table(width=[300, 301, 100, 100, 5], height=[100, 100, 300, 301, 0])
    assert kept(aspect.apply(pool, aspect.Config(max_ratio=3.0))) == [True, False, True, False, False]


def test_exposure_tells_dark_from_bright():
    answer = exposure.apply(table(mean=[9.9, 10.0, 245.0, 245.1]), exposure.Config(darkest=10, brightest=245))
    assert kept(answer) == [False, True, True, False]
    assert answer["reason"].to_pylist() == ["dark", None, None, "bright"]


def test_blur_looks_at_the_edges():
    assert kept(blur.apply(table(sharpness=[0.0, 19.9, 20.0]), blur.Config(min_sharpness=20.0))) == [False, False, True]


@pytest.mark.parametrize("size", [256, 1600])
def test_a_blurred_photograph_is_told_from_a_sharp_one_at_any_size(size):
    """A checkerboard of squares of an eighth, and the same after a Gaussian blur of a 32nd of its side."""
    squares = np.kron(np.indices((8, 8)).sum(0) % 2, np.ones((size // 8, size // 8))) * 200 + 20
    sharp = Image.fromarray(squares.astype(np.uint8))
    soft = sharp.filter(ImageFilter.GaussianBlur(size / 32))
    assert statistics(soft).sharpness < 20 < statistics(sharp).sharpness


def test_exact_duplicate_keeps_the_first():
    assert kept(exact_duplicate.apply(table(uid=["b", "a", "b", "a", "c"]), exact_duplicate.Config())) == [
        True,
        True,
        False,
        False,
        True,
    ]


def flip(code: bytes, bits: list[int]) -> bytes:
    value = int.from_bytes(code, "big")
    for bit in set(bits):
        value ^= 1 << bit
    return value.to_bytes(len(code), "big")


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=20), st.integers(0, 8))
def test_near_duplicate_is_greedy_brute_force(flips, distance):
    codes = [flip(bytes(HASH_BITS // 8), bits) for bits in flips]
    pool = table(phash=pa.array(codes, pa.binary(HASH_BITS // 8)))
    ours = kept(near_duplicate.apply(pool, near_duplicate.Config(max_distance=distance)))
    expected: list[bool] = []
    for i, code in enumerate(codes):
        near = [
            expected[j] and (int.from_bytes(code, "big") ^ int.from_bytes(codes[j], "big")).bit_count() <= distance for j in range(i)
        ]
        expected.append(not any(near))
    assert ours == expected


def test_pairs_of_nothing():
    empty = np.empty((0, HASH_BITS // 8), np.uint8)
    assert near_duplicate.pairs(empty, empty, 3).shape == (0, 2)


def test_a_distance_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="max_distance: 200 is out of range"):
        near_duplicate.Config(max_distance=200)


def test_nothing_is_asked_of_what_an_earlier_filter_emptied():
    """A filter that wants embeddings comes after one that drops all: no model is asked."""
    pool = pa.table({"uid": ["a"], "std": pa.array([0.0], pa.float32())})
    reason, steps = decide(pool, {"blank": {}, "semantic_duplicate": {}}, "k", prepare=lambda *_: pytest.fail("asked"))
    assert reason.tolist() == ["blank"]
    assert [step.filter for step in steps] == ["blank"]
