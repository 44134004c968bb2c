"""Exact neighbours in a matrix of embeddings (n, d) in memory or on disk, and what spreads from neighbour to neighbour.

Nothing is approximate: the matrix passes once, block by block, and a query's list takes in only what beats its last entry. The
work is one matrix product and grows as n times the queries. Rows are of unit length.
"""

from functools import partial

import numpy as np

from stages.filters._clusters import blocks, take
from stages.filters._work import Arrays, Work

PART = 131_072  # rows whose neighbours are kept as one part
QUERIES = 1024
STEP = 8192  # rows of one product


def nearest(matrix: np.ndarray, queries: np.ndarray, count: int, work: Work | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The most similar rows of the matrix to each query (q, d), the most similar first; of equal ones the first row.

    Returns:
        Rows (q, k) int64 and their similarities (q, k) float32, k = min(count, n).
    """
    work = (work or Work()).on(matrix, count=count).on(queries)
    makes = {
        f"queries-{first:09d}-rows-{a:09d}": partial(_part, matrix, a, b, queries[first:last], count)
        for first, last in blocks(len(queries), QUERIES)
        for a, b in blocks(len(matrix), PART)
    }
    found = list(work.parts(makes, "neighbours"))
    chunks = -(-len(matrix) // PART)
    lists = [_merged(found[at : at + chunks], count) for at in range(0, len(found), chunks)] if chunks else []
    if not lists:
        return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    return np.concatenate([rows for rows, _ in lists]), np.concatenate([fits for _, fits in lists])


def _part(matrix: np.ndarray, start: int, stop: int, queries: np.ndarray, count: int) -> Arrays:
    """The neighbours among some rows. The first steps are short, so that long ones meet full lists."""
    rows, fits = np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    space = np.empty((len(queries), STEP), np.float32)
    queries, step = np.ascontiguousarray(queries, np.float32), min(max(count, 128), STEP)
    while start < stop:
        block = take(matrix, slice(start, min(start + step, stop)))
        similarities = np.matmul(queries, block.T, out=space.reshape(-1)[: len(queries) * len(block)].reshape(len(queries), -1))
        rows, fits = _better(rows, fits, similarities, start, count)
        start, step = start + len(block), min(2 * step, STEP)
    return {"rows": rows, "fits": fits}


def _better(rows: np.ndarray, fits: np.ndarray, similarities: np.ndarray, offset: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists (q, k) with what of the similarities (q, m) belongs into them."""
    full = rows.shape[1] == count
    query, column = np.nonzero(similarities > fits[:, -1:]) if full else np.nonzero(similarities > -np.inf)
    if not len(query):
        return rows, fits
    everyone = np.concatenate([np.repeat(np.arange(len(rows)), rows.shape[1]), query])
    candidates = np.concatenate([rows.reshape(-1), column + offset])
    values = np.concatenate([fits.reshape(-1), similarities[query, column]])
    order = np.lexsort((candidates, -values, everyone))
    starts = np.searchsorted(everyone[order], np.arange(len(rows)))
    length = min(count, rows.shape[1] + similarities.shape[1])
    chosen = order[starts[:, None] + np.arange(length)]
    return candidates[chosen], values[chosen]


def _merged(parts: list[Arrays], count: int) -> tuple[np.ndarray, np.ndarray]:
    rows, fits = (np.concatenate([part[name] for part in parts], axis=1) for name in ("rows", "fits"))
    order = np.lexsort((rows, -fits), axis=1)[:, :count]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(fits, order, 1)


def near_any(matrix: np.ndarray, others: np.ndarray, threshold: float, work: Work | None = None) -> np.ndarray:
    """Which rows (n,) bool have a cosine above the threshold to any of the others (m, d)."""
    work = (work or Work()).on(matrix, threshold=threshold).on(others)
    makes = {f"rows-{a:09d}": partial(_near_any, matrix, a, b, others, threshold) for a, b in blocks(len(matrix), STEP)}
    found = [part["near"] for part in work.parts(makes, "near rows")]
    return np.concatenate(found) if found else np.zeros(0, bool)


def _near_any(matrix: np.ndarray, start: int, stop: int, others: np.ndarray, threshold: float) -> Arrays:
    block, near = take(matrix, slice(start, stop)), np.zeros(stop - start, bool)
    for a, b in blocks(len(others), QUERIES):
        near |= (block @ take(others, slice(a, b)).T > threshold).any(1)
    return {"near": near}


def spread(matrix: np.ndarray, seeds: np.ndarray, threshold: float, neighbours: int | None = None) -> np.ndarray:
    """The rows (n,) bool that the seeds (n,) bool reach over steps between rows of a cosine above the threshold.

    Without a limit these are the connected components of the seeds, whole. With one, a step leads from a row to no more than
    that many of its nearest rows. Only rows that are reached are compared with the others, so this costs (reached rows) x n,
    little where little is reached, and holds O(n) beside the matrix.
    """
    reached, front = seeds.copy(), np.flatnonzero(seeds)
    while len(front):
        now, front = take(matrix, front[:QUERIES]), front[QUERIES:]
        if neighbours is None:
            near = near_any(matrix, now, threshold)
        else:
            rows, fits = nearest(matrix, now, neighbours + 1)  # a row is its own nearest
            near = np.zeros(len(matrix), bool)
            near[rows[fits > threshold]] = True
        front = np.concatenate([front, np.flatnonzero(near & ~reached)])
        reached |= near
    return reached
