"""Spherical k-means in memory.

The matrix products are numpy's: its OpenBLAS is several times as fast as that of faiss' wheels
(benchmarks/clusters.md).
"""

import numpy as np
from scipy.sparse import csr_matrix

from winnow.clustering.rows import blocks

SIMILARITIES = 1 << 22  # of one matrix product: 16 MB


def largest(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns (m, count) int32 of the largest values of each row, largest first, and these values.

    Overwrites its argument.
    """
    rows = np.arange(len(values))
    columns = np.empty((len(values), count), np.int32)
    top = np.empty((len(values), count), np.float32)
    for rank in range(count):
        columns[:, rank] = values.argmax(1)
        top[:, rank] = values[rows, columns[:, rank]]
        values[rows, columns[:, rank]] = -np.inf
    return columns, top


def closest(points: np.ndarray, centroids: np.ndarray, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """For each of the points (m, d): the indices (m, count) of the most similar centroids (k, d), and the
    similarities.
    """
    count = min(count, len(centroids))
    step = max(1, SIMILARITIES // len(centroids))
    parts = [largest(points[a:b] @ centroids.T, count) for a, b in blocks(len(points), step)]
    if not parts:
        return np.empty((0, count), np.int32), np.empty((0, count), np.float32)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def kmeans(points: np.ndarray, count: int, seed: int, iterations: int) -> np.ndarray:
    """Lloyd's k-means on the sphere: centroids (count, d) of unit length of the points (m, d).

    It starts from rows drawn with the seed. A cluster that loses its last point restarts from the point that
    is least similar to its centroid.

    Raises:
        ValueError: if there are fewer points than clusters.
    """
    if count > len(points):
        raise ValueError(f"clusters: {count} of {len(points)} points; ask for {len(points)} or fewer")
    drawn = np.sort(np.random.default_rng(seed).choice(len(points), count, replace=False))
    centroids, previous = points[drawn], None
    for _ in range(iterations):
        assignment, similarities = (column[:, 0] for column in closest(points, centroids))
        if previous is not None and np.array_equal(assignment, previous):
            break
        previous = assignment
        sums = cluster_sums(points, assignment, count)
        empty = np.flatnonzero(np.bincount(assignment, minlength=count) == 0)
        sums[empty] = points[np.argsort(similarities, kind="stable")[: len(empty)]]
        centroids = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(centroids, np.float32)


def cluster_sums(points: np.ndarray, assignment: np.ndarray, count: int) -> np.ndarray:
    """The sums (count, d) of the points (m, d) of each cluster."""
    ones, starts = np.ones(len(points), np.float32), np.arange(len(points) + 1)
    sums: np.ndarray = csr_matrix((ones, assignment, starts), (len(points), count)).T @ points
    return sums
