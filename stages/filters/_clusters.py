"""Spherical k-means over a matrix of embeddings (n, d) in memory or on disk, as a tree of two levels: cells and their leaves.

Rows are of unit length, float32 or float16, and are read in blocks, so that an `np.memmap` is never in memory as a whole. A
row is compared with the centroids of the cells, k / 64 and no more than 2 sqrt(k), and with the leaves of the nearest ones, not with
all k leaves beyond 1,024, so the work grows as n sqrt(k). The matrix products are numpy's: its OpenBLAS is several
times as fast as that of faiss' wheels (benchmarks/clusters.md).

The same seed gives the same tree, whatever the number of threads. Another machine's BLAS adds in another order: a row at
equal distance from two centroids may fall either way there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.sparse import csr_matrix

from stages.filters._work import Arrays, Work

BLOCK = 65_536  # rows of one part
SIMILARITIES = 1 << 22  # of one matrix product: 16 MB
FLAT = 128  # clusters that need no tree
EXACT = 1024  # leaves that all are looked at: one large product costs no more than several small ones
STEPS = 2  # of Lloyd's over a whole tree, after the k-means within its cells
LEAVES = 64  # of a cell; more where there would be more than 2 sqrt(k) cells
PROBES = 4  # cells in which a row looks for its leaf
SEVERAL = 256  # points for each cell of a tree


@dataclass(frozen=True)
class Tree:
    """Cells (c, d), leaves (k, d), all of unit length; the leaves of cell i are `starts[i]` to `starts[i + 1]`."""

    cells: np.ndarray
    leaves: np.ndarray
    starts: np.ndarray


def take(matrix: np.ndarray, rows: np.ndarray | slice) -> np.ndarray:
    """Rows of a matrix as float32, contiguous.

    Raises:
        ValueError: if a value is not finite.
    """
    found = np.ascontiguousarray(matrix[rows], np.float32)
    # One number a row: infinity and NaN survive the sum, unit rows cannot overflow it.
    if not np.isfinite(found.sum()):
        raise ValueError("embedding: some values are not finite; embed these examples again")
    return found


def blocks(count: int, size: int = BLOCK) -> Iterator[tuple[int, int]]:
    """From and to of each block of rows."""
    return ((start, min(start + size, count)) for start in range(0, count, size))


def best(similarities: np.ndarray, ways: int) -> tuple[np.ndarray, np.ndarray]:
    """The columns (m, ways) of the largest values of each row, largest first, and the values; overwrites its argument."""
    rows = np.arange(len(similarities))
    columns = np.empty((len(similarities), ways), np.int32)
    values = np.empty((len(similarities), ways), np.float32)
    for way in range(ways):
        columns[:, way] = similarities.argmax(1)
        values[:, way] = similarities[rows, columns[:, way]]
        similarities[rows, columns[:, way]] = -np.inf
    return columns, values


def closest(points: np.ndarray, centroids: np.ndarray, ways: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """For each of the points (m, d): the indices (m, ways) of the most similar centroids (k, d), and the similarities."""
    ways = min(ways, len(centroids))
    step = max(1, SIMILARITIES // len(centroids))
    parts = [best(points[a:b] @ centroids.T, ways) for a, b in blocks(len(points), step)]
    if not parts:
        return np.empty((0, ways), np.int32), np.empty((0, ways), np.float32)
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def kmeans(points: np.ndarray, count: int, seed: int, iterations: int) -> np.ndarray:
    """Lloyd's k-means on the sphere: centroids (count, d) of unit length of the points (m, d).

    It starts from rows drawn with the seed. A cluster that loses its last point goes on from the point that its own centroid
    fits least.

    Raises:
        ValueError: if there are fewer points than clusters.
    """
    if count > len(points):
        raise ValueError(f"clusters: {count} of {len(points)} points; ask for {len(points)} or fewer")
    drawn = np.sort(np.random.default_rng(seed).choice(len(points), count, replace=False))
    centroids, before = points[drawn], None
    for _ in range(iterations):
        owner, fit = (found[:, 0] for found in closest(points, centroids))
        if before is not None and np.array_equal(owner, before):
            break
        before = owner
        ones = np.ones(len(points), np.float32)
        sums = csr_matrix((ones, owner, np.arange(len(points) + 1)), (len(points), count)).T @ points
        empty = np.flatnonzero(np.bincount(owner, minlength=count) == 0)
        sums[empty] = points[np.argsort(fit, kind="stable")[: len(empty)]]
        centroids = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return np.ascontiguousarray(centroids, np.float32)


def share(wanted: int, sizes: np.ndarray) -> np.ndarray:
    """Split `wanted` clusters among groups in proportion to their sizes, at least one each, at most one for each member."""
    given = np.clip((sizes * (wanted / max(sizes.sum(), 1))).astype(np.int64), 1, sizes)
    order = np.argsort(given - sizes * (wanted / max(sizes.sum(), 1)), kind="stable")
    while (missing := wanted - given.sum()) > 0 and (room := order[given[order] < sizes[order]]).size:
        given[room[:missing]] += 1
    for _ in range(given.sum() - wanted):
        given[given.argmax()] -= 1
    return given


def grow(
    matrix: np.ndarray,
    count: int,
    seed: int = 0,
    iterations: int = 10,
    points: int = 32,
    rows: np.ndarray | None = None,
    work: Work | None = None,
) -> Tree:
    """Train a tree of `count` leaves on a sample.

    Args:
        matrix: (n, d), rows of unit length.
        points: rows of the sample for each leaf.
        rows: the rows to train on; None is all.

    Raises:
        ValueError: if there are fewer rows than leaves.
    """
    work = work or Work()
    rows = np.arange(len(matrix)) if rows is None else rows
    rng = np.random.default_rng(seed)
    sample = rows if len(rows) <= count * points else np.sort(rng.choice(rows, count * points, replace=False))
    if count <= FLAT:
        leaves = _one(work, "leaves", partial(_split, matrix, sample, count, seed, iterations))["leaves"]
        return Tree(leaves.mean(0, keepdims=True), leaves, np.array([0, count]))
    if count > len(sample):
        raise ValueError(f"clusters: {count} of {len(sample)} rows; ask for {len(sample)} or fewer")
    cells = round(min(max(count**0.5 / 2, count / LEAVES), 2 * count**0.5))
    few = sample if len(sample) <= cells * SEVERAL else np.sort(rng.choice(sample, cells * SEVERAL, replace=False))
    top = _one(work, "cells", partial(_split, matrix, few, cells, seed, iterations))["leaves"]
    spans = {f"sample-{a:09d}": partial(_cell, matrix, sample[a:b], top) for a, b in blocks(len(sample))}
    cell = np.concatenate([part["cell"] for part in work.parts(spans, "sample")])
    sizes = np.bincount(cell, minlength=cells)
    numbers = np.flatnonzero(sizes)
    wanted = share(count, sizes[numbers])
    rows_of = np.split(sample[np.argsort(cell, kind="stable")], np.cumsum(sizes[numbers])[:-1])
    splits = {
        f"cell-{i:05d}": partial(_split, matrix, rows_of[i], leaves, seed + i, iterations) for i, leaves in enumerate(wanted.tolist())
    }
    found = [part["leaves"] for part in work.parts(splits, "clusters")]
    return Tree(top[numbers], np.concatenate(found), np.concatenate([[0], np.cumsum(wanted)]))


def _one(work: Work, name: str, make: Callable[[], Arrays]) -> Arrays:
    return next(iter(list(work.parts({name: make}, name))))


def _cell(matrix: np.ndarray, rows: np.ndarray, cells: np.ndarray) -> Arrays:
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
    work: Work | None = None,
    probes: int = PROBES,
) -> Tree:
    """What `grow` gives, then a few steps of Lloyd's over all leaves: for clusters that are looked at, not only looked into."""
    work = work or Work()
    tree = grow(matrix, count, seed, iterations, points, rows, work)
    for step in range(STEPS if len(tree.cells) > 1 else 0):
        tree = Tree(**work.once(f"refined-{step}", partial(_refined, matrix, tree, rows, probes)))
    return tree


def _refined(matrix: np.ndarray, tree: Tree, rows: np.ndarray | None, probes: int) -> Arrays:
    return vars(refine(matrix, tree, rows, probes))


def refine(matrix: np.ndarray, tree: Tree, rows: np.ndarray | None = None, probes: int = PROBES) -> Tree:
    """One step of Lloyd's over all leaves, which `grow` has trained each within its cell, and the leaves put to their nearest cells.

    A leaf to which no row falls stays where it is.
    """
    rows = np.arange(len(matrix)) if rows is None else rows
    spans = {f"{a}": partial(_sums, matrix, rows[a:b], tree, probes) for a, b in blocks(len(rows))}
    sums = np.zeros_like(tree.leaves)
    for part in Work().parts(spans, "refinement"):
        sums[part["leaves"]] += part["sums"]
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    leaves = np.where(length > 0, sums / np.maximum(length, 1e-12), tree.leaves)
    cell = closest(leaves, tree.cells)[0][:, 0]
    held = np.unique(cell)
    order = np.argsort(cell, kind="stable")
    starts = np.append(np.searchsorted(cell[order], held), len(leaves))
    return Tree(tree.cells[held], np.ascontiguousarray(leaves[order]), starts)


def _sums(matrix: np.ndarray, rows: np.ndarray, tree: Tree, probes: int) -> Arrays:
    points = take(matrix, rows)
    leaves, index = np.unique(_assign(points, tree, 1, probes)["leaves"][:, 0], return_inverse=True)
    ones = np.ones(len(points), np.float32)
    return {"leaves": leaves, "sums": csr_matrix((ones, index, np.arange(len(points) + 1))).T @ points}


def assign(
    matrix: np.ndarray, tree: Tree, ways: int = 1, probes: int = PROBES, work: Work | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The `ways` most similar leaves of each row: up to `EXACT` among all, else among those of its `probes` most similar cells.

    Returns:
        Leaves (n, ways) int32, most similar first, -1 where the cells have no more; and similarities (n, ways) float32.
    """
    work = work or Work()
    leaves, fits = np.empty((len(matrix), ways), np.int32), np.empty((len(matrix), ways), np.float32)
    spans = list(blocks(len(matrix)))
    makes = {f"rows-{a:09d}": partial(_span, matrix, a, b, tree, ways, probes) for a, b in spans}
    for (a, b), part in zip(spans, work.parts(makes, "assignment"), strict=True):
        leaves[a:b], fits[a:b] = part["leaves"], part["fits"]
    return leaves, fits


def _span(matrix: np.ndarray, start: int, stop: int, tree: Tree, ways: int, probes: int) -> Arrays:
    return _assign(take(matrix, slice(start, stop)), tree, ways, probes)


def _assign(points: np.ndarray, tree: Tree, ways: int, probes: int) -> Arrays:
    if len(tree.leaves) <= EXACT:
        leaves, fits = closest(points, tree.leaves, ways)
        none = ((0, 0), (0, ways - leaves.shape[1]))
        return {"leaves": np.pad(leaves, none, constant_values=-1), "fits": np.pad(fits, none, constant_values=-np.inf)}
    probed, _ = closest(points, tree.cells, probes)
    leaves = np.full((len(points), probed.shape[1] * ways), -1, np.int32)
    fits = np.full(leaves.shape, -np.inf, np.float32)
    for probe in range(probed.shape[1]):
        order = np.argsort(probed[:, probe], kind="stable")
        ends = np.searchsorted(probed[order, probe], np.arange(len(tree.cells) + 1))
        for cell in np.flatnonzero(np.diff(ends)):
            members = order[ends[cell] : ends[cell + 1]]
            first, last = tree.starts[cell : cell + 2]
            index, fit = closest(points[members], tree.leaves[first:last], ways)
            columns = slice(probe * ways, probe * ways + index.shape[1])
            leaves[members, columns], fits[members, columns] = index + first, fit
    if probed.shape[1] > 1:
        chosen, fits = best(fits, ways)
        leaves = np.take_along_axis(leaves, chosen, 1)
        leaves[fits == -np.inf] = -1
    return {"leaves": leaves, "fits": fits}
