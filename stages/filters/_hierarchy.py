"""Hierarchical k-means and balanced sampling from it, after Vo et al., "Automatic Data Curation for Self-Supervised Learning"
(arXiv 2405.15613), from the paper's text alone.

Level 1 clusters the rows, each further level clusters the centroids of the one below. Plain k-means puts most of its centroids
where most of the data is; a step of resampling takes the few points nearest to each centroid and clusters these
again, which brings the centroids nearer to a uniform spread over what there is, and a further level does it again. Rows are then
drawn from the top down: at each node the wanted number is split as evenly among the children as what they hold allows.

Departures: k-means is spherical (the embeddings are of unit length; the paper's is Euclidean), in float32, and a level of more
than 128 clusters is a tree of two levels (`_clusters.py`), where the paper splits only the largest level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.filters._clusters import Tree, assign, clustered
from stages.filters._work import Work

POINTS = 64  # rows for each cluster that the first k-means of a level is trained on


@dataclass
class Level:
    """One level: how many clusters, and how often it is clustered again from how many points nearest to each centroid."""

    clusters: int
    resampling: int = 0
    points: int = 10

    def __post_init__(self) -> None:
        for key, least in (("clusters", 1), ("resampling", 0), ("points", 1)):
            if getattr(self, key) < least:
                raise ValueError(f"levels.{key}: {getattr(self, key)} is too small; allowed: {least} or more")


@dataclass(frozen=True)
class Clustering:
    """Clusters of one level: the cluster (n,) of each point, similarities (n,) to its centroid, and the centroids (k, d)."""

    owner: np.ndarray
    fits: np.ndarray
    centroids: np.ndarray


def hierarchy(
    matrix: np.ndarray, levels: Sequence[Level], iterations: int = 20, seed: int = 0, work: Work | None = None
) -> list[Clustering]:
    """Cluster the rows (n, d), their centroids, and so on up: one clustering a level, whose points are the level below's clusters.

    A cluster that no point has fallen to is left out, so a level may have fewer than were asked for.

    Raises:
        ValueError: if a level has more clusters than points.
    """
    work = (work or Work()).on(matrix, levels=[vars(level) for level in levels], iterations=iterations, seed=seed)
    found: list[Clustering] = []
    for number, level in enumerate(levels):
        points = found[-1].centroids if found else matrix
        if level.clusters > len(points):
            raise ValueError(f"levels: {level.clusters} clusters of {len(points)} points; ask for {len(points)} or fewer")
        found.append(_level(points, level, iterations, seed + number, work.at(f"level-{number + 1}")))
    return found


def _level(points: np.ndarray, level: Level, iterations: int, seed: int, work: Work) -> Clustering:
    tree = clustered(points, level.clusters, seed, iterations, POINTS, None, work.at("step-0"))
    for step in range(1, level.resampling + 1):
        owner, fits = _owners(points, tree, work.at(f"step-{step - 1}"))
        rows = nearest_members(owner, fits, level.points)
        tree = clustered(points, min(level.clusters, len(rows)), seed, iterations, level.points, rows, work.at(f"step-{step}"))
    owner, fits = _owners(points, tree, work.at(f"step-{level.resampling}"))
    held, owner = np.unique(owner, return_inverse=True)
    return Clustering(owner, fits, tree.leaves[held])


def _owners(points: np.ndarray, tree: Tree, work: Work) -> tuple[np.ndarray, np.ndarray]:
    owner, fits = assign(points, tree, work=work)
    return owner[:, 0], fits[:, 0]


def nearest_members(owner: np.ndarray, fits: np.ndarray, count: int) -> np.ndarray:
    """The rows, sorted, of the `count` best fits of each cluster; of equal fits the first rows."""
    order = np.lexsort((-fits, owner))
    place = np.arange(len(order)) - np.searchsorted(owner[order], owner[order])
    return np.sort(order[place < count])


def quotas(sizes: np.ndarray, target: int, turn: np.ndarray) -> np.ndarray:
    """Split a target among groups: min(x, size) each for the one x that fits, and one more for as many as it takes.

    Args:
        sizes: (g,) what each group holds.
        turn: (g,) who is first to give one more: the smallest.

    Returns:
        (g,) int64, in sum min(target, sizes.sum()).
    """
    target, ascending = min(target, int(sizes.sum())), np.sort(sizes)
    # Groups up to i are emptied if the cap is their size: what x = ascending[i] gives in all.
    given = np.concatenate([[0], np.cumsum(ascending)[:-1]]) + ascending * np.arange(len(sizes), 0, -1)
    emptied = int(np.searchsorted(given, target, side="right"))
    if emptied == len(sizes):
        return sizes.astype(np.int64)
    cap, more = divmod(target - int(ascending[:emptied].sum()), len(sizes) - emptied)
    found = np.minimum(sizes, cap).astype(np.int64)
    larger = np.flatnonzero(sizes > cap)
    found[larger[np.argsort(turn[larger], kind="stable")[:more]]] += 1
    return found


def sample(levels: Sequence[np.ndarray], target: int, turn: np.ndarray, seed: int) -> np.ndarray:
    """Draw rows from the top of a hierarchy down.

    Args:
        levels: the owner arrays of `hierarchy`: (n,) the cluster of each row, then the cluster of each cluster, and so on.
        turn: (n,) who is first to be drawn in its lowest cluster: the smallest.

    Returns:
        (n,) bool, min(target, n) of them true.
    """
    rng = np.random.default_rng(seed)
    holds = [np.bincount(levels[0])]
    for owner in levels[1:]:
        holds.append(np.bincount(owner, weights=holds[-1]).astype(np.int64))
    wanted = quotas(holds[-1], target, rng.permutation(len(holds[-1])))
    for owner, sizes in zip(reversed(levels[1:]), reversed(holds[:-1]), strict=True):
        order = np.argsort(owner, kind="stable")
        children = np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)
        below, first = np.zeros(len(sizes), np.int64), rng.permutation(len(sizes))
        for number, group in enumerate(children):
            below[group] = quotas(sizes[group], int(wanted[number]), first[group])
        wanted = below
    order = np.lexsort((turn, levels[0]))
    own = levels[0][order]
    chosen = np.zeros(len(order), bool)
    chosen[order[np.arange(len(order)) - np.searchsorted(own, own) < wanted[own]]] = True
    return chosen
