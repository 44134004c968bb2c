"""Which rows of a matrix of embeddings are near to which, and which of them stay: semantic deduplication below its filter.

Rows that share a leaf of the cluster tree are compared, all with all. Each row is in its two most similar leaves, so that a
border between two clusters hides few pairs. Leaves hold a few hundred rows, so the work grows as n.
"""

import math
from functools import partial

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from stages.filters._clusters import assign, blocks, grow, take
from stages.filters._work import Arrays, Work

LEAF = 96  # rows a leaf is meant to hold, without those that have it as their second
WHOLE = 2048  # rows that are compared all with all, whatever the clusters
MOST = 16  # earlier rows that a row remembers in one leaf, beside its leaders
PROBES = 6  # cells in which a row looks for its two leaves
GROUP = 65_536  # rows of the leaves whose pairs are kept as one part
KEEP = ("first", "far", "near")
WAYS = ("greedy", "components")


def distinct(
    matrix: np.ndarray,
    threshold: float,
    clusters: int | None = None,
    keep: str = "first",
    way: str = "greedy",
    seed: int = 0,
    work: Work | None = None,
) -> np.ndarray:
    """Which rows stay when of rows that are near to each other only one does.

    Args:
        matrix: (n, d) of unit length, float32 or float16, such as an `np.memmap`; about 0.2 KB a row is held beside it.
        threshold: rows are near at a cosine of this or more. Products of float32 are good to 1e-6: a pair as close
            to the threshold as that may fall either way on another machine.
        clusters: leaves; None is one for each 96 rows.
        keep: who stays: the `first` row, or the one that is `far` from or `near` to the centroid of its cluster.
        way: `greedy`: a row goes if a row before it that stays is near. `components`: one row of each connected component
            of near rows stays.

    Returns:
        (n,) bool.
    """
    count = len(matrix)
    work = (work or Work()).on(matrix, threshold=threshold, clusters=clusters, keep=keep, way=way, seed=seed)
    if clusters is None:
        clusters = 1 if count <= WHOLE else math.ceil(count / LEAF)
    tree = grow(matrix, min(clusters, max(count, 1)), seed, work=work.at("tree")) if count else None
    if tree is None:
        return np.ones(0, bool)
    leaves, fits = assign(matrix, tree, ways=2, probes=PROBES, work=work.at("leaves"))
    order = ranked(fits[:, 0], keep)
    pairs = near(matrix, leaves, order, threshold, work.at("pairs"))
    return greedy(pairs, order) if way == "greedy" else components(pairs, order)


def ranked(fits: np.ndarray, keep: str) -> np.ndarray:
    """The rows (n,) in the order in which they may stay, from their similarities to their centroids (n,)."""
    if keep == "first":
        return np.arange(len(fits))
    rounded = np.round(fits.astype(np.float64), 5)
    return np.argsort(rounded if keep == "far" else -rounded, kind="stable")


def near(matrix: np.ndarray, leaves: np.ndarray, order: np.ndarray, threshold: float, work: Work | None = None) -> np.ndarray:
    """Pairs (m, 2) int32 of places in the order: a row and an earlier one that is near to it and shares a leaf (n, ways).

    Leaders of a leaf are those that greedy would keep if the leaf were all. A row remembers the leaders that it is near to and of
    the other earlier rows the 16 first. In a leaf of more than 2,048 rows it is compared with the rows around it, and of
    those further before it with the leaders: a hundred thousand copies of one picture cost a hundred thousand comparisons.
    """
    work = work or Work()
    place, own = np.repeat(np.arange(len(order), dtype=np.int32), leaves.shape[1]), leaves[order].reshape(-1)
    by_leaf = np.argsort(own, kind="stable")  # stable: within a leaf in the order
    by_leaf = by_leaf[np.searchsorted(own[by_leaf], 0) :]  # -1 is no leaf
    place, own = place[by_leaf], own[by_leaf]
    ends = np.flatnonzero(np.diff(own, append=-1)) + 1
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    groups = np.split(np.arange(len(ends)), np.flatnonzero(np.diff(starts // GROUP)) + 1) if len(ends) else []

    makes = {
        f"leaves-{number:06d}": partial(_pairs, matrix, order, [place[starts[leaf] : ends[leaf]] for leaf in group], threshold)
        for number, group in enumerate(groups)
    }
    found = [part["pairs"] for part in work.parts(makes, "near rows")]
    return np.concatenate(found) if found else np.empty((0, 2), np.int32)


def _pairs(matrix: np.ndarray, order: np.ndarray, leaves: list[np.ndarray], threshold: float) -> Arrays:
    widest = min(max(len(members) for members in leaves), WHOLE)
    space = np.empty(widest * widest, np.float32)
    return {"pairs": np.concatenate([places[_within(take(matrix, order[places]), threshold, space)] for places in leaves])}


def _within(points: np.ndarray, threshold: float, space: np.ndarray) -> np.ndarray:
    """Pairs (m, 2) of indices into the points of a leaf, the later first; `space` takes the similarities of one block."""
    found, leaders = [], np.empty(0, np.int64)
    for a, b in blocks(len(points), WHOLE):
        block = points[a:b]
        # The copy keeps numpy from the symmetric product, which mirrors its triangle element by element and is slower.
        near = np.matmul(block, block.copy().T, out=space[: len(block) ** 2].reshape(len(block), -1)) >= threshold
        row, leader = np.nonzero(block @ points[leaders].T >= threshold)
        later, earlier = np.divmod(np.flatnonzero(near), len(block))
        later, earlier = later[earlier < later], earlier[earlier < later]
        place = np.arange(len(later)) - np.searchsorted(later, later)
        if b < len(points) or (place >= MOST).any():
            led = _leaders(near, np.isin(np.arange(len(block)), row, invert=True))
            few = (place < MOST) | led[earlier]
            later, earlier = later[few], earlier[few]
            fresh = np.flatnonzero(led) + a
        found += [np.stack([row + a, leaders[leader]], 1), np.stack([later, earlier], 1) + a]
        if b < len(points):
            leaders = np.concatenate([leaders, fresh])
    return np.concatenate(found) if found else np.empty((0, 2), np.int64)


def _leaders(near: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Of the rows (m,) that are free: those that, one after the other, are near (m, m) to no leader before them."""
    led = np.zeros(len(free), bool)
    for row in np.flatnonzero(free):
        led[row] = not (near[row, :row] & led[:row]).any()
    return led


def greedy(pairs: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which rows (n,) stay: in the order, each that is near to none that stays. Pairs are of places, the later first."""
    kept = np.ones(len(order), bool)
    for place, earlier in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
        if kept[earlier]:
            kept[place] = False
    return _by_row(kept, order)


def components(pairs: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which rows (n,) stay: the first, in the order, of each connected component."""
    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (len(order), len(order)))
    _, component = connected_components(graph, directed=False)
    kept = np.zeros(len(order), bool)
    kept[np.unique(component, return_index=True)[1]] = True
    return _by_row(kept, order)


def _by_row(kept: np.ndarray, order: np.ndarray) -> np.ndarray:
    found = np.empty(len(order), bool)
    found[order] = kept
    return found
