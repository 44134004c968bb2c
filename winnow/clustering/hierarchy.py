"""Hierarchical k-means and balanced sampling from it, after Vo et al., "Automatic Data Curation for
Self-Supervised Learning" (arXiv 2405.15613), from the paper's text alone.

Level 1 clusters the rows, each further level clusters the centroids of the one below. Plain k-means puts most
of its centroids where most of the data is; a step of resampling takes the few points nearest to each centroid
and clusters these again, which brings the centroids nearer to a uniform spread over the data, and a further
level does it again. Rows are then drawn from the top down: at each node the target is split as evenly among
the children as their sizes allow.

Departures: k-means is spherical (the embeddings are of unit length; the paper's is Euclidean), in float32,
and a level of more than 128 clusters is a tree of two levels (winnow/clustering/kmeans_tree.py), where the
paper splits only the largest level.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from winnow.clustering.kmeans_tree import Tree, assign, clustered
from winnow.clustering.part_cache import NO_CACHE, PartCache
from winnow.clustering.rows import rank_in_group
from winnow.config.bounds import bounded

POINTS = 64  # rows for each cluster that the first k-means of a level is trained on


@dataclass
class Level:
    """One level: how many clusters, and how often they are resampled, from how many points nearest to each
    centroid.
    """

    clusters: int = bounded(low=1)
    resampling: int = bounded(0, 0)
    points: int = bounded(10, 1)


@dataclass(frozen=True)
class Clustering:
    """Clusters of one level: the cluster (n,) of each point, its similarity (n,) to the centroid, and the
    centroids (k, d).
    """

    assignment: np.ndarray
    similarities: np.ndarray
    centroids: np.ndarray


def hierarchy(
    matrix: np.ndarray,
    levels: Sequence[Level],
    iterations: int = 20,
    seed: int = 0,
    cache: PartCache = NO_CACHE,
) -> list[Clustering]:
    """Cluster the rows (n, d), their centroids, and so on up: one clustering per level, whose points are the
    centroids of the level below.

    A cluster without a point is left out, so a level may have fewer clusters than requested.

    Raises:
        ValueError: if a level has more clusters than points.
    """
    cache = cache.for_inputs(
        matrix, levels=[asdict(level) for level in levels], iterations=iterations, seed=seed
    )
    clusterings: list[Clustering] = []
    for number, level in enumerate(levels):
        points = clusterings[-1].centroids if clusterings else matrix
        if level.clusters > len(points):
            raise ValueError(
                f"levels: {level.clusters} clusters of {len(points)} points; ask for {len(points)} or fewer"
            )
        below = cache.subfolder(f"level-{number + 1}")
        clusterings.append(_level(points, level, iterations, seed + number, below))
    return clusterings


def _level(points: np.ndarray, level: Level, iterations: int, seed: int, cache: PartCache) -> Clustering:
    def train(step: int, count: int, each: int, rows: np.ndarray | None) -> Tree:
        return clustered(points, count, seed, iterations, each, rows, cache.subfolder(f"step-{step}"))

    tree = train(0, level.clusters, POINTS, None)
    for step in range(1, level.resampling + 1):
        rows = nearest_members(*_assign(points, tree, cache.subfolder(f"step-{step - 1}")), level.points)
        tree = train(step, min(level.clusters, len(rows)), level.points, rows)
    assignment, similarities = _assign(points, tree, cache.subfolder(f"step-{level.resampling}"))
    filled, assignment = np.unique(assignment, return_inverse=True)
    return Clustering(assignment, similarities, tree.leaves[filled])


def _assign(points: np.ndarray, tree: Tree, cache: PartCache) -> tuple[np.ndarray, np.ndarray]:
    leaves, similarities = assign(points, tree, cache=cache)
    return leaves[:, 0], similarities[:, 0]


def nearest_members(assignment: np.ndarray, similarities: np.ndarray, count: int) -> np.ndarray:
    """The `count` rows of each cluster that are most similar to its centroid, all sorted; of equal ones the
    first rows.
    """
    order = np.lexsort((-similarities, assignment))
    return np.sort(order[rank_in_group(assignment[order]) < count])


def quotas(sizes: np.ndarray, target: int, priority: np.ndarray) -> np.ndarray:
    """Split a target among groups: min(x, size) each for the one x that fits, and one more for as many as it
    takes.

    Args:
        sizes: (g,) of the groups.
        priority: (g,) the groups of the smallest values give one more first.

    Returns:
        (g,) int64, in sum min(target, sizes.sum()).
    """
    target, ascending = min(target, int(sizes.sum())), np.sort(sizes)
    # The sum over all groups if x is ascending[i], so that groups up to i are exhausted.
    sums = np.concatenate([[0], np.cumsum(ascending)[:-1]]) + ascending * np.arange(len(sizes), 0, -1)
    exhausted = int(np.searchsorted(sums, target, side="right"))
    if exhausted == len(sizes):
        return sizes.astype(np.int64)
    cap, more = divmod(target - int(ascending[:exhausted].sum()), len(sizes) - exhausted)
    shares = np.minimum(sizes, cap).astype(np.int64)
    larger = np.flatnonzero(sizes > cap)
    shares[larger[np.argsort(priority[larger], kind="stable")[:more]]] += 1
    return shares


def sample(levels: Sequence[np.ndarray], target: int, priority: np.ndarray, seed: int) -> np.ndarray:
    """Draw rows from the top of a hierarchy down.

    Args:
        levels: the assignments of `hierarchy`: (n,) the cluster of each row, then the cluster of each
            cluster, and so on.
        priority: (n,) of a lowest cluster the rows of the smallest values are drawn first.

    Returns:
        (n,) bool, min(target, n) of them true.
    """
    rng = np.random.default_rng(seed)
    sizes = [np.bincount(levels[0])]
    for assignment in levels[1:]:
        sizes.append(np.bincount(assignment, weights=sizes[-1]).astype(np.int64))
    shares = quotas(sizes[-1], target, rng.permutation(len(sizes[-1])))
    for assignment, below in zip(reversed(levels[1:]), reversed(sizes[:-1]), strict=True):
        order = np.argsort(assignment, kind="stable")
        children = np.split(order, np.flatnonzero(np.diff(assignment[order])) + 1)
        child_shares, first = np.zeros(len(below), np.int64), rng.permutation(len(below))
        for parent, group in enumerate(children):
            child_shares[group] = quotas(below[group], int(shares[parent]), first[group])
        shares = child_shares
    order = np.lexsort((priority, levels[0]))
    cluster = levels[0][order]
    chosen = np.zeros(len(order), bool)
    chosen[order[rank_in_group(cluster) < shares[cluster]]] = True
    return chosen
