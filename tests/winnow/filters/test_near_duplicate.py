"""Near duplicates by brute force over all pairs of hashes."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.vectors import numbered
from winnow.filters import near_duplicate
from winnow.pool.images import HASH_BITS


def flip(code: bytes, bits: list[int]) -> bytes:
    value = int.from_bytes(code, "big")
    for bit in set(bits):
        value ^= 1 << bit
    return value.to_bytes(len(code), "big")


@given(st.lists(st.lists(st.integers(0, 30), max_size=12), min_size=1, max_size=20), st.integers(0, 8))
def test_it_is_greedy_brute_force(flips, distance):
    codes = [flip(bytes(HASH_BITS // 8), bits) for bits in flips]
    columns = {"uid": numbered(len(codes)), "phash": pa.array(codes, pa.binary(HASH_BITS // 8))}
    answer = near_duplicate.apply(pa.table(columns), near_duplicate.Config(max_distance=distance))
    numbers = [int.from_bytes(code, "big") for code in codes]
    expected: list[bool] = []
    for i, number in enumerate(numbers):
        near = [expected[j] and (number ^ numbers[j]).bit_count() <= distance for j in range(i)]
        expected.append(not any(near))
    assert answer["keep"].to_pylist() == expected
    assert {reason for reason in answer["reason"].to_pylist() if reason} <= {"near_duplicate"}
