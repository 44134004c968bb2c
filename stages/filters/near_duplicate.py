"""near_duplicate: of images whose perceptual hashes differ in few bits, keep the first.

The hash has 256 bits, because 64 bits cannot tell one T-shirt from another: on 12,000 Fashion-MNIST images, 64 bits within
distance 2 pair images that correlate at 0.90, 256 bits within distance 20 pair three, which correlate at 0.998; a JPEG of
quality 75 moves the hash by 10 bits, a 15 % change of brightness by 2 (both medians).
"""

from dataclasses import dataclass

import faiss
import numpy as np
import pyarrow as pa

from stages.data.images import HASH_BITS
from stages.filters import verdicts


@dataclass
class Config:
    max_distance: int = 20  # bits of 256 that may differ

    def __post_init__(self) -> None:
        if not 0 <= self.max_distance < HASH_BITS // 2:
            raise ValueError(f"max_distance: {self.max_distance} is out of range; allowed: 0 to {HASH_BITS // 2 - 1}")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column phash. Greedy in row order: a row goes if an earlier row that stays is near it."""
    codes = hashes(pool)
    keep = np.ones(len(codes), bool)
    for row, other in pairs(codes, codes, config.max_distance):
        if other < row and keep[other]:
            keep[row] = False
    return verdicts(pool, keep, "near_duplicate")


def hashes(pool: pa.Table) -> np.ndarray:
    """The column phash as bytes (n, 32) uint8."""
    column = pool["phash"].combine_chunks()
    joined = b"".join(column.to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(len(pool), HASH_BITS // 8)


def pairs(queries: np.ndarray, among: np.ndarray, distance: int) -> np.ndarray:
    """Pairs (m, 2) of a query row and a row of `among` whose codes (n, 32) differ in at most `distance` bits, sorted."""
    if not len(queries) or not len(among):
        return np.empty((0, 2), np.int64)
    index = faiss.IndexBinaryFlat(HASH_BITS)
    index.add(np.ascontiguousarray(among))
    limits, _, found = index.range_search(np.ascontiguousarray(queries), distance + 1)
    rows = np.repeat(np.arange(len(queries)), np.diff(limits).astype(np.int64))
    both = np.stack([rows, found], axis=1)
    return both[np.lexsort((both[:, 1], both[:, 0]))]
