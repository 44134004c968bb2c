"""Which rows of a matrix of embeddings are near to which, and which of them stay: the search of semantic
deduplication.

Rows that share a leaf of the cluster tree are compared, all with all. Each row is in its two most similar
leaves, so that a border between two clusters hides few pairs. Leaves hold a few hundred rows, so the work
grows as n.
"""

import math
from functools import partial

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from winnow.clustering.kmeans_tree import assign, grow
from winnow.clustering.part_cache import NO_CACHE, Arrays, PartCache
from winnow.clustering.rows import blocks, rank_in_group, take

LEAF = 96  # rows that a leaf should hold, without those for which it is the second
WHOLE = 2048  # rows that are compared all with all, whatever the clusters
MOST = 16  # earlier rows that a row remembers in one leaf, beside its leaders
PROBES = 6  # cells in which a row looks for its two leaves
GROUP = 65_536  # rows of the leaves whose pairs are one part
KEEP = ("first", "far", "near")
WAYS = ("greedy", "components")


def distinct(
    matrix: np.ndarray,
    threshold: float,
    clusters: int | None = None,
    keep: str = "first",
    way: str = "greedy",
    seed: int = 0,
    cache: PartCache = NO_CACHE,
) -> np.ndarray:
    """Which rows stay if only one of near rows does.

    Args:
        matrix: (n, d) of unit length, float32 or float16, such as an `np.memmap`; about 0.2 KB a row are
            needed beside it.
        threshold: rows are near at a cosine of this or more. Products of float32 are good to 1e-6: a pair as
            close to the threshold as that may fall either way on another machine.
        clusters: leaves; None is one for each 96 rows.
        keep: which stays: the `first` row, or the one that is `far` from or `near` to the centroid of its
            cluster.
        way: `greedy`: a row goes if a row before it that stays is near. `components`: one row of each
            connected component of near rows stays.

    Returns:
        (n,) bool.
    """
    count = len(matrix)
    if not count:
        return np.ones(0, bool)
    settings = {"threshold": threshold, "clusters": clusters, "keep": keep, "way": way, "seed": seed}
    cache = cache.for_inputs(matrix, **settings)
    if clusters is None:
        clusters = 1 if count <= WHOLE else math.ceil(count / LEAF)
    tree = grow(matrix, min(clusters, count), seed, cache=cache.subfolder("tree"))
    leaves, similarities = assign(matrix, tree, 2, PROBES, cache.subfolder("leaves"))
    order = ranked(similarities[:, 0], keep)
    pairs = near_pairs(matrix, leaves, order, threshold, cache.subfolder("pairs"))
    return greedy(pairs, order) if way == "greedy" else components(pairs, order)


def ranked(similarities: np.ndarray, keep: str) -> np.ndarray:
    """The rows (n,), the first to stay first, from their similarities to their centroids (n,)."""
    if keep == "first":
        return np.arange(len(similarities))
    rounded = np.round(similarities.astype(np.float64), 5)
    return np.argsort(rounded if keep == "far" else -rounded, kind="stable")


def near_pairs(
    matrix: np.ndarray, leaves: np.ndarray, order: np.ndarray, threshold: float, cache: PartCache = NO_CACHE
) -> np.ndarray:
    """Pairs (m, 2) int32 of positions in the order: a row and an earlier one that is near to it and shares a
    leaf (n, count).

    Leaders of a leaf are the rows that greedy would keep if there were no other leaf. A row remembers the
    leaders that it is near to, and the first 16 of the other earlier rows. In a leaf of more than 2,048 rows
    it is compared with the rows around it, and of those further before it with the leaders: a hundred
    thousand copies of one image cost a hundred thousand comparisons.
    """
    computes = {
        f"leaves-{number:06d}": partial(_pairs, matrix, order, group, threshold)
        for number, group in enumerate(_grouped(*_by_leaf(leaves[order])))
    }
    pairs = [part["pairs"] for part in cache.parts(computes, "near rows")]
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int32)


def _by_leaf(leaves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions in the order, sorted by leaf and within a leaf by the order, and where each leaf ends."""
    position = np.repeat(np.arange(len(leaves), dtype=np.int32), leaves.shape[1])
    leaf = leaves.reshape(-1)
    by_leaf = np.argsort(leaf, kind="stable")
    by_leaf = by_leaf[np.searchsorted(leaf[by_leaf], 0) :]  # -1 is no leaf
    return position[by_leaf], np.flatnonzero(np.diff(leaf[by_leaf], append=-1)) + 1


def _grouped(position: np.ndarray, ends: np.ndarray) -> list[list[np.ndarray]]:
    """The members of each leaf, in groups of leaves that begin within the same `GROUP` rows."""
    if not len(ends):
        return []
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    groups = np.split(np.arange(len(ends)), np.flatnonzero(np.diff(starts // GROUP)) + 1)
    return [[position[starts[leaf] : ends[leaf]] for leaf in group] for group in groups]


def _pairs(matrix: np.ndarray, order: np.ndarray, leaves: list[np.ndarray], threshold: float) -> Arrays:
    widest = min(max(len(members) for members in leaves), WHOLE)
    buffer = np.empty(widest * widest, np.float32)
    pairs = [members[_within(take(matrix, order[members]), threshold, buffer)] for members in leaves]
    return {"pairs": np.concatenate(pairs)}


def _within(points: np.ndarray, threshold: float, buffer: np.ndarray) -> np.ndarray:
    """Pairs (m, 2) of indices into the points of a leaf, the later first; `buffer` takes the similarities of
    one block.
    """
    pairs, leaders = [], np.empty(0, np.int64)
    for a, b in blocks(len(points), WHOLE):
        block = points[a:b]
        # The copy keeps numpy from the symmetric product, which mirrors its triangle element by element and
        # is slower.
        square = buffer[: len(block) ** 2].reshape(len(block), -1)
        near = np.matmul(block, block.copy().T, out=square) >= threshold
        row, leader = np.nonzero(block @ points[leaders].T >= threshold)
        later, earlier = np.divmod(np.flatnonzero(near), len(block))
        later, earlier = later[earlier < later], earlier[earlier < later]
        rank = rank_in_group(later)
        fresh = np.empty(0, np.int64)
        if b < len(points) or (rank >= MOST).any():
            leads = _leads(near, np.isin(np.arange(len(block)), row, invert=True))
            few = (rank < MOST) | leads[earlier]
            later, earlier = later[few], earlier[few]
            fresh = np.flatnonzero(leads) + a
        pairs += [np.stack([row + a, leaders[leader]], 1), np.stack([later, earlier], 1) + a]
        leaders = np.concatenate([leaders, fresh])
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)


def _leads(near: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Which rows (m,) lead: in turn, each that is free and near (m, m) to no leader before it."""
    leads = np.zeros(len(free), bool)
    for row in np.flatnonzero(free):
        leads[row] = not (near[row, :row] & leads[:row]).any()
    return leads


def greedy(pairs: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which rows (n,) stay: in the order, each that is near to none that stays. Pairs are of positions, the
    later first.
    """
    kept = np.ones(len(order), bool)
    for later, earlier in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))].tolist():
        if kept[earlier]:
            kept[later] = False
    return _by_row(kept, order)


def components(pairs: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which rows (n,) stay: the first, in the order, of each connected component."""
    graph = coo_matrix((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), (len(order), len(order)))
    _, component = connected_components(graph, directed=False)
    kept = np.zeros(len(order), bool)
    kept[np.unique(component, return_index=True)[1]] = True
    return _by_row(kept, order)


def _by_row(kept: np.ndarray, order: np.ndarray) -> np.ndarray:
    by_row = np.empty(len(order), bool)
    by_row[order] = kept
    return by_row
