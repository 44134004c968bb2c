"""Embeddings for tests: `from tests.vectors import circle, embedded, unit`."""

from typing import Any

import numpy as np
import pyarrow as pa

from winnow.filters import with_vectors


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows (n, d) scaled to unit length, float32."""
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def random_units(count: int, seed: int, width: int = 8) -> np.ndarray:
    """Vectors (count, width) evenly from the sphere."""
    return unit(np.random.default_rng(seed).standard_normal((count, width)))


def circle(degrees: Any) -> np.ndarray:
    """Unit vectors (n, 2) at these angles."""
    turns = np.radians(np.array(degrees, float))
    return np.stack([np.cos(turns), np.sin(turns)], 1).reshape(-1, 2).astype(np.float32)


def numbered(count: int) -> list[str]:
    """As many different uids, sorted."""
    return [f"{i:032x}" for i in range(count)]


def embedded(vectors: np.ndarray, **columns: Any) -> pa.Table:
    """A pool's table with a column `embedding`, as a filter gets it."""
    table = pa.table({"uid": pa.array(numbered(len(vectors)), pa.string()), **columns})
    return with_vectors(table, "embedding", np.asarray(vectors, np.float32))


def planted(count: int, seed: int = 0, width: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """A mixture of 40 Gaussians on the sphere (count, width), and which pairs of rows (m, 2) are near.

    The last tenth of the rows are near copies (cosine 0.97 to 0.999) of other rows.
    """
    rng = np.random.default_rng(seed)
    plain = count - count // 10
    centres = unit(rng.standard_normal((40, width)))
    rows = unit(centres[rng.integers(40, size=plain)] + rng.standard_normal((plain, width)) / width**0.5)
    originals = rng.choice(plain, count - plain, replace=False)
    away = rng.standard_normal((count - plain, width))
    away = unit(away - (away * rows[originals]).sum(1, keepdims=True) * rows[originals])
    cosine = rng.uniform(0.97, 0.999, (count - plain, 1))
    copies = unit(cosine * rows[originals] + np.sqrt(1 - cosine**2) * away)
    return np.concatenate([rows, copies]), np.stack([originals, np.arange(plain, count)], 1)
