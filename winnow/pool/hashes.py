"""Perceptual hashes of a pool, which `ingest` stored, and which of them are near to one another."""

import faiss
import numpy as np
import pyarrow as pa

from winnow.pool.images import HASH_BITS


def hashes(pool: pa.Table) -> np.ndarray:
    """The column phash as bytes (n, 32) uint8."""
    joined = b"".join(pool["phash"].to_pylist())
    return np.frombuffer(joined, np.uint8).reshape(len(pool), HASH_BITS // 8)


def pairs(queries: np.ndarray, among: np.ndarray, distance: int) -> np.ndarray:
    """Pairs (m, 2) of a query row and a row of `among` whose codes (n, 32) differ in at most `distance` bits,
    sorted.
    """
    if not len(queries) or not len(among):
        return np.empty((0, 2), np.int64)
    index = faiss.IndexBinaryFlat(HASH_BITS)
    index.add(np.ascontiguousarray(among))
    limits, _, near = index.range_search(np.ascontiguousarray(queries), distance + 1)
    rows = np.repeat(np.arange(len(queries)), np.diff(limits).astype(np.int64))
    order = np.lexsort((near, rows))
    return np.stack([rows[order], near[order]], axis=1)
