"""Exact neighbours in a matrix of embeddings (n, d) in memory or on disk, and what spreads from neighbour to
neighbour.

Nothing is approximate: the matrix passes once, block by block, and a query's list takes in only what beats
its last entry. The work is one matrix product and grows as n times the queries. Rows are of unit length.
"""

from functools import partial

import numpy as np

from winnow.clustering.part_cache import NO_CACHE, Arrays, PartCache
from winnow.clustering.rows import blocks, take

PART = 131_072  # rows whose neighbours are one part
QUERIES = 1024
STEP = 8192  # rows of one product


def nearest(
    matrix: np.ndarray, queries: np.ndarray, count: int, cache: PartCache = NO_CACHE
) -> tuple[np.ndarray, np.ndarray]:
    """The most similar rows of the matrix to each query (q, d), the most similar first; of equal ones the
    first row.

    Returns:
        Rows (q, k) int64 and their similarities (q, k) float32, k = min(count, n).
    """
    cache = cache.for_inputs(matrix, count=count).for_inputs(queries)
    computes = {
        f"queries-{first:09d}-rows-{a:09d}": partial(_part, matrix, a, b, queries[first:last], count)
        for first, last in blocks(len(queries), QUERIES)
        for a, b in blocks(len(matrix), PART)
    }
    parts = list(cache.parts(computes, "neighbours"))
    if not parts:
        return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    per_query = -(-len(matrix) // PART)
    lists = [_merged(parts[i : i + per_query], count) for i in range(0, len(parts), per_query)]
    rows, similarities = zip(*lists, strict=True)
    return np.concatenate(rows), np.concatenate(similarities)


def _part(matrix: np.ndarray, start: int, stop: int, queries: np.ndarray, count: int) -> Arrays:
    """The neighbours among some rows. The first steps are short, so that long ones meet full lists."""
    rows, similarities = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    buffer = np.empty(len(queries) * STEP, np.float32)
    queries, step = np.ascontiguousarray(queries, np.float32), min(max(count, 128), STEP)
    while start < stop:
        block = take(matrix, slice(start, min(start + step, stop)))
        out = buffer[: len(queries) * len(block)].reshape(len(queries), -1)
        fresh = np.matmul(queries, block.T, out=out)
        rows, similarities = _updated(rows, similarities, fresh, start, count)
        start, step = start + len(block), min(2 * step, STEP)
    return {"rows": rows, "similarities": similarities}


def _updated(
    rows: np.ndarray, similarities: np.ndarray, fresh: np.ndarray, offset: int, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The lists (q, k) with what belongs there of the fresh similarities (q, m) of rows from `offset`."""
    full = rows.shape[1] == count
    query, column = np.nonzero(fresh > similarities[:, -1:]) if full else np.nonzero(fresh > -np.inf)
    if not len(query):
        return rows, similarities
    owner = np.concatenate([np.repeat(np.arange(len(rows)), rows.shape[1]), query])
    candidates = np.concatenate([rows.reshape(-1), column + offset])
    values = np.concatenate([similarities.reshape(-1), fresh[query, column]])
    order = np.lexsort((candidates, -values, owner))
    starts = np.searchsorted(owner[order], np.arange(len(rows)))
    length = min(count, rows.shape[1] + fresh.shape[1])
    chosen = order[starts[:, None] + np.arange(length)]
    return candidates[chosen], values[chosen]


def _merged(parts: list[Arrays], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The lists of several parts as one."""
    rows = np.concatenate([part["rows"] for part in parts], axis=1)
    similarities = np.concatenate([part["similarities"] for part in parts], axis=1)
    order = np.lexsort((rows, -similarities), axis=1)[:, :count]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(similarities, order, 1)


def near_any(
    matrix: np.ndarray, others: np.ndarray, threshold: float, cache: PartCache = NO_CACHE
) -> np.ndarray:
    """Which rows (n,) bool have a cosine above the threshold to any of the others (m, d)."""
    cache = cache.for_inputs(matrix, threshold=threshold).for_inputs(others)
    computes = {
        f"rows-{a:09d}": partial(_near_any, matrix, a, b, others, threshold)
        for a, b in blocks(len(matrix), STEP)
    }
    near = [part["near"] for part in cache.parts(computes, "near rows")]
    return np.concatenate(near) if near else np.zeros(0, bool)


def _near_any(matrix: np.ndarray, start: int, stop: int, others: np.ndarray, threshold: float) -> Arrays:
    block, near = take(matrix, slice(start, stop)), np.zeros(stop - start, bool)
    for a, b in blocks(len(others), QUERIES):
        near |= (block @ take(others, slice(a, b)).T > threshold).any(1)
    return {"near": near}


def spread(
    matrix: np.ndarray, seeds: np.ndarray, threshold: float, neighbours: int | None = None
) -> np.ndarray:
    """The rows (n,) bool that are reached from the seeds (n,) bool by steps of a cosine above the threshold.

    Without a limit these are the connected components of the seeds, whole. With one, a step leads from a row
    to no more than that many of its nearest rows. Only rows that are reached are compared with the others, so
    this costs (reached rows) x n, little where few are reached, and takes O(n) memory beside the matrix.
    """
    reached, frontier = seeds.copy(), np.flatnonzero(seeds)
    while len(frontier):
        current, frontier = take(matrix, frontier[:QUERIES]), frontier[QUERIES:]
        if neighbours is None:
            near = near_any(matrix, current, threshold)
        else:
            rows, similarities = nearest(matrix, current, neighbours + 1)  # a row is its own nearest
            near = np.zeros(len(matrix), bool)
            near[rows[similarities > threshold]] = True
        frontier = np.concatenate([frontier, np.flatnonzero(near & ~reached)])
        reached |= near
    return reached
