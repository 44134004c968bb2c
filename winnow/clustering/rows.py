"""Rows of a matrix of embeddings (n, d) in memory or on disk.

Rows are of unit length, float32 or float16, and are read in blocks, so that an `np.memmap` is never in memory
as a whole.
"""

from collections.abc import Iterator

import numpy as np

BLOCK = 65_536  # rows of one part


def take(matrix: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Rows of a matrix as float32, contiguous.

    Raises:
        ValueError: if a value is not finite.
    """
    taken = np.ascontiguousarray(matrix[rows], np.float32)
    # One number a row: infinity and NaN survive the sum, unit rows cannot overflow it.
    if not np.isfinite(taken.sum()):
        raise ValueError("embedding: some values are not finite; embed these examples again")
    return taken


def blocks(count: int, size: int = BLOCK) -> Iterator[tuple[int, int]]:
    """Start and stop of each block of rows."""
    return ((start, min(start + size, count)) for start in range(0, count, size))


def rank_in_group(groups: np.ndarray) -> np.ndarray:
    """The position (n,) of each element within its group, in a sorted array of groups (n,)."""
    return np.arange(len(groups)) - np.searchsorted(groups, groups)
