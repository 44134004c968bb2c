"""Spherical k-means with many clusters, as a tree of two levels: cells, and leaves, which are the clusters.

A row is compared with the centroids of the cells, k / 64 and no more than 2 sqrt(k), and with the leaves of
the nearest ones, not with all k leaves beyond 1,024, so the work grows as n sqrt(k).

The same seed gives the same tree, whatever the number of threads. Another machine's BLAS adds in another
order: a row at equal distance from two centroids may fall either way there.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np

from winnow.clustering.kmeans import closest, cluster_sums, kmeans, largest
from winnow.clustering.part_cache import NO_CACHE, Arrays, PartCache
from winnow.clustering.rows import blocks, take

FLAT = 128  # clusters that need no tree
EXACT = 1024  # leaves that are all compared: one large product costs no more than several small ones
STEPS = 2  # of Lloyd's over a whole tree, after the k-means within its cells
LEAVES = 64  # of a cell; more where there would be more than 2 sqrt(k) cells
PROBES = 4  # cells in which a row looks for its leaf
CELL_POINTS = 256  # points for each cell of a tree


@dataclass(frozen=True)
class Tree:
    """Cells (c, d) and leaves (k, d) of unit length; cell i has the leaves `starts[i]` to `starts[i + 1]`."""

    cells: np.ndarray
    leaves: np.ndarray
    starts: np.ndarray


def share(total: int, sizes: np.ndarray) -> np.ndarray:
    """Split `total` clusters among groups in proportion to their sizes, at least one each, at most one for
    each member.
    """
    exact = sizes * (total / max(sizes.sum(), 1))
    shares = np.clip(exact.astype(np.int64), 1, sizes)
    order = np.argsort(shares - exact, kind="stable")
    while (missing := total - shares.sum()) > 0 and (room := order[shares[order] < sizes[order]]).size:
        shares[room[:missing]] += 1
    for _ in range(shares.sum() - total):
        shares[shares.argmax()] -= 1
    return shares


def grow(
    matrix: np.ndarray,
    count: int,
    seed: int = 0,
    iterations: int = 10,
    points: int = 32,
    rows: np.ndarray | None = None,
    cache: PartCache = NO_CACHE,
) -> Tree:
    """Train a tree of `count` leaves on a sample.

    Args:
        matrix: (n, d), rows of unit length.
        points: rows of the sample for each leaf.
        rows: the rows to train on; None is all.

    Raises:
        ValueError: if there are fewer rows than leaves.
    """
    rows = np.arange(len(matrix)) if rows is None else rows
    rng = np.random.default_rng(seed)
    sample = _drawn(rows, count * points, rng)
    if count <= FLAT:
        leaves = _train(cache, "leaves", matrix, sample, count, seed, iterations)
        return Tree(leaves.mean(0, keepdims=True), leaves, np.array([0, count]))
    if count > len(sample):
        raise ValueError(f"clusters: {count} of {len(sample)} rows; ask for {len(sample)} or fewer")
    cell_count = round(min(max(count**0.5 / 2, count / LEAVES), 2 * count**0.5))
    few = _drawn(sample, cell_count * CELL_POINTS, rng)
    cells = _train(cache, "cells", matrix, few, cell_count, seed, iterations)
    spans = {f"sample-{a:09d}": partial(_cells, matrix, sample[a:b], cells) for a, b in blocks(len(sample))}
    cell = np.concatenate([part["cell"] for part in cache.parts(spans, "sample")])
    sizes = np.bincount(cell, minlength=cell_count)
    filled = np.flatnonzero(sizes)
    shares = share(count, sizes[filled])
    members = np.split(sample[np.argsort(cell, kind="stable")], np.cumsum(sizes[filled])[:-1])
    splits = {
        f"cell-{i:05d}": partial(_split, matrix, members[i], each, seed + i, iterations)
        for i, each in enumerate(shares.tolist())
    }
    leaves = np.concatenate([part["leaves"] for part in cache.parts(splits, "clusters")])
    return Tree(cells[filled], leaves, np.concatenate([[0], np.cumsum(shares)]))


def _drawn(rows: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= count else np.sort(rng.choice(rows, count, replace=False))


def _train(
    cache: PartCache, name: str, matrix: np.ndarray, rows: np.ndarray, count: int, seed: int, iterations: int
) -> np.ndarray:
    """k-means as one part, which `parts` gives its BLAS thread and its line of progress."""
    (part,) = cache.parts({name: partial(_split, matrix, rows, count, seed, iterations)}, name)
    return part["leaves"]


def _cells(matrix: np.ndarray, rows: np.ndarray, cells: np.ndarray) -> Arrays:
    return {"cell": closest(take(matrix, rows), cells)[0][:, 0]}


def _split(matrix: np.ndarray, rows: np.ndarray, leaves: int, seed: int, iterations: int) -> Arrays:
    return {"leaves": kmeans(take(matrix, rows), leaves, seed, iterations)}


def clustered(
    matrix: np.ndarray,
    count: int,
    seed: int = 0,
    iterations: int = 10,
    points: int = 32,
    rows: np.ndarray | None = None,
    cache: PartCache = NO_CACHE,
    probes: int = PROBES,
) -> Tree:
    """The tree of `grow` after a few steps of Lloyd's over all leaves: where the clusters are the result, not
    only an index.
    """
    tree = grow(matrix, count, seed, iterations, points, rows, cache)
    for step in range(STEPS if len(tree.cells) > 1 else 0):
        tree = Tree(**cache.part(f"refined-{step}", partial(_refined, matrix, tree, rows, probes)))
    return tree


def _refined(matrix: np.ndarray, tree: Tree, rows: np.ndarray | None, probes: int) -> Arrays:
    return vars(refine(matrix, tree, rows, probes))


def refine(matrix: np.ndarray, tree: Tree, rows: np.ndarray | None = None, probes: int = PROBES) -> Tree:
    """One step of Lloyd's over all leaves, each of which `grow` trained within its cell. Then each leaf moves
    to its nearest cell; one to which no row falls stays where it is.
    """
    rows = np.arange(len(matrix)) if rows is None else rows
    spans = {f"{a}": partial(_sums, matrix, rows[a:b], tree, probes) for a, b in blocks(len(rows))}
    sums = np.zeros_like(tree.leaves)
    for part in NO_CACHE.parts(spans, "refinement"):
        sums[part["leaves"]] += part["sums"]
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    leaves = np.where(length > 0, sums / np.maximum(length, 1e-12), tree.leaves)
    cell = closest(leaves, tree.cells)[0][:, 0]
    filled = np.unique(cell)
    order = np.argsort(cell, kind="stable")
    starts = np.append(np.searchsorted(cell[order], filled), len(leaves))
    return Tree(tree.cells[filled], np.ascontiguousarray(leaves[order]), starts)


def _sums(matrix: np.ndarray, rows: np.ndarray, tree: Tree, probes: int) -> Arrays:
    points = take(matrix, rows)
    leaves, index = np.unique(_assign(points, tree, 1, probes)["leaves"][:, 0], return_inverse=True)
    return {"leaves": leaves, "sums": cluster_sums(points, index, len(leaves))}


def assign(
    matrix: np.ndarray, tree: Tree, count: int = 1, probes: int = PROBES, cache: PartCache = NO_CACHE
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most similar leaves of each row: up to `EXACT` leaves among all, beyond among those of its
    `probes` most similar cells.

    Returns:
        Leaves (n, count) int32, most similar first, -1 where the cells have no more; and similarities (n,
        count) float32.
    """
    leaves = np.empty((len(matrix), count), np.int32)
    similarities = np.empty((len(matrix), count), np.float32)
    spans = list(blocks(len(matrix)))
    computes = {f"rows-{a:09d}": partial(_span, matrix, a, b, tree, count, probes) for a, b in spans}
    for (a, b), part in zip(spans, cache.parts(computes, "assignment"), strict=True):
        leaves[a:b], similarities[a:b] = part["leaves"], part["similarities"]
    return leaves, similarities


def _span(matrix: np.ndarray, start: int, stop: int, tree: Tree, count: int, probes: int) -> Arrays:
    return _assign(take(matrix, slice(start, stop)), tree, count, probes)


def _assign(points: np.ndarray, tree: Tree, count: int, probes: int) -> Arrays:
    if len(tree.leaves) <= EXACT:
        leaves, similarities = closest(points, tree.leaves, count)
        missing = ((0, 0), (0, count - leaves.shape[1]))
        return {
            "leaves": np.pad(leaves, missing, constant_values=-1),
            "similarities": np.pad(similarities, missing, constant_values=-np.inf),
        }
    leaves, similarities = _probe(points, tree, count, probes)
    if leaves.shape[1] > count:
        columns, similarities = largest(similarities, count)
        leaves = np.take_along_axis(leaves, columns, 1)
        leaves[similarities == -np.inf] = -1
    return {"leaves": leaves, "similarities": similarities}


def _probe(points: np.ndarray, tree: Tree, count: int, probes: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` most similar leaves in each of the most similar cells, side by side, -1 where a cell has
    fewer.
    """
    probed, _ = closest(points, tree.cells, probes)
    leaves = np.full((len(points), probed.shape[1] * count), -1, np.int32)
    similarities = np.full(leaves.shape, -np.inf, np.float32)
    for probe in range(probed.shape[1]):
        order = np.argsort(probed[:, probe], kind="stable")
        ends = np.searchsorted(probed[order, probe], np.arange(len(tree.cells) + 1))
        for cell in np.flatnonzero(np.diff(ends)):
            members = order[ends[cell] : ends[cell + 1]]
            first, last = tree.starts[cell : cell + 2]
            index, similarity = closest(points[members], tree.leaves[first:last], count)
            columns = slice(probe * count, probe * count + index.shape[1])
            leaves[members, columns], similarities[members, columns] = index + first, similarity
    return leaves, similarities
