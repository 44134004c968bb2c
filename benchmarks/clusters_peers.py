"""The peers of benchmarks/clusters.py: the scripts that a person who knows faiss would write on it.

The file is mapped, not read into memory; k-means is spherical, as ours is, and runs 10 iterations: faiss's
default of 25 takes twice as long here and finds no more (docs/log.md). The k-means of a hierarchy is trained
on as many rows for each cluster as ours.
"""

from pathlib import Path
from typing import Any

import numpy as np

WIDTH, THRESHOLD, NEIGHBOURS, PER_CLUSTER = 256, 0.95, 32, 200
ITERATIONS, POINTS = 10, 64


def levels(count: int) -> list[int]:
    return [count // 100, count // 1000, count // 10_000]


def dedup(folder: Path, _: Any) -> np.ndarray:
    x = np.load(folder / "x.npy", mmap_mode="r")
    kept = np.ones(len(x), bool)
    for rows in members(clustered(x, int(len(x) ** 0.5))[0]):
        kept[rows] = ~(np.triu(x[rows] @ x[rows].T, 1) >= THRESHOLD).any(0)
    return kept


def hierarchy(folder: Path, _: Any) -> np.ndarray:
    from winnow.clustering.hierarchy import sample  # faiss has no such thing; the time is the k-means

    x = np.load(folder / "x.npy", mmap_mode="r")
    points, assignments = x, []
    for k in levels(len(x)):
        assignment, centroids = clustered(points, k, max_points_per_centroid=POINTS)
        if not assignments:
            np.save(folder / "similarities.npy", np.einsum("nd,nd->n", x, centroids[assignment]))
        assignments.append(assignment)
        points = centroids
    return sample(assignments, len(x) // 10, np.arange(len(x)), 0)


def neighbours(folder: Path, _: Any) -> np.ndarray:
    import faiss

    index = faiss.IndexFlatIP(WIDTH)
    index.add(np.load(folder / "x.npy"))
    return index.search(np.load(folder / "queries.npy"), NEIGHBOURS)[1]


def by_cluster(folder: Path, _: Any) -> np.ndarray:
    x = np.load(folder / "x.npy", mmap_mode="r")
    assignment, centroids = clustered(x, int(len(x) ** 0.5))
    nearest = (np.load(folder / "queries.npy") @ centroids.T).argmax(1)
    queries = np.bincount(nearest, minlength=len(centroids))
    kept, rng = np.zeros(len(x), bool), np.random.default_rng(0)
    for rows in members(assignment):
        if queries[assignment[rows[0]]] > 3:
            kept[rng.permutation(rows)[:PER_CLUSTER]] = True
    return kept


def clustered(x: np.ndarray, k: int, **more: Any) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    kmeans = faiss.Kmeans(x.shape[1], k, niter=ITERATIONS, spherical=True, seed=0, **more)
    kmeans.train(x)
    return kmeans.index.search(x, 1)[1][:, 0], kmeans.centroids


def members(assignment: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(assignment, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(assignment[order])) + 1)
