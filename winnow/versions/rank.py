"""A pseudo-random order of rows by their keys, which adding or removing other rows does not change."""

import hashlib

import numpy as np
import pyarrow as pa


def ranks(table: pa.Table, seed: int) -> np.ndarray:
    """The rank of each row, (rows,) uint64, that depends on nothing but seed and key."""
    keys = table["key"].to_pylist()
    drawn = (hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8] for key in keys)
    return np.array([int.from_bytes(one, "big") for one in drawn], np.uint64)


def lowest(rows: np.ndarray, rank: np.ndarray, count: int) -> np.ndarray:
    """The `count` rows of lowest rank, in that order."""
    return rows[np.argsort(rank[rows], kind="stable")][:count]
