"""Pairs of near perceptual hashes, by brute force over all pairs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from winnow.pool.hashes import pairs
from winnow.pool.images import HASH_BITS

CODES = st.lists(st.binary(min_size=2, max_size=2), max_size=12)


def padded(codes):
    """Two random bytes and zeros: near enough to one another that some pairs are found."""
    return np.array([list(code) + [0] * (HASH_BITS // 8 - 2) for code in codes], np.uint8).reshape(
        -1, HASH_BITS // 8
    )


@given(CODES, CODES, st.integers(0, 16))
def test_pairs_are_those_of_brute_force(queries, among, distance):
    numbers = [[int.from_bytes(code, "big") for code in codes] for codes in (queries, among)]
    expected = [
        (i, j)
        for i, one in enumerate(numbers[0])
        for j, other in enumerate(numbers[1])
        if (one ^ other).bit_count() <= distance
    ]
    assert pairs(padded(queries), padded(among), distance).tolist() == [list(pair) for pair in expected]
