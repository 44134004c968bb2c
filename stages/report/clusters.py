"""The cluster map of a card: k-means over vectors, each cluster as a mosaic of the examples nearest to its centre.

Clusters lie on a grid so that neighbours look alike: its cells are matched to the centres' two main directions. A mosaic is as wide as
the square root of its cluster's share. It is a picture to look at, not a part of the version: floats may round otherwise elsewhere.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from stages.data.images import decode
from stages.data.pool import Pool
from stages.filters.near_duplicate import hashes
from stages.report.tiles import SIDE, data_uri, png

COLUMNS, LINES = 6, 4
TRAINED_ON = 20_000  # rows that k-means sees; all are assigned
ITERATIONS = 20
GAP = 2  # pixels between the pictures of a mosaic
SMALLEST = 0.45  # width of the smallest mosaic, of its cell


@dataclass(frozen=True)
class Cluster:
    """One cell of the map: a mosaic as a data URI and its width in percent of the cell, its rows of the pool, its share of all."""

    image: str
    width: int
    rows: np.ndarray
    share: float


def cluster_map(pool: Pool, rows: np.ndarray, vectors: np.ndarray, seed: int) -> list[Cluster | None]:
    """The cells of the map, line by line; None for a cell without a cluster.

    Args:
        rows: (n,) rows of the pool.
        vectors: (n, d) float32, their embeddings or hashes.
    """
    if len(rows) < 2:
        return []
    centres, nearest, distance = _kmeans(np.ascontiguousarray(vectors, np.float32), min(COLUMNS * LINES, max(2, len(rows) // 4)), seed)
    members = [np.flatnonzero(nearest == c) for c in range(len(centres))]
    filled = [c for c in range(len(centres)) if len(members[c])]
    most = max(len(members[c]) for c in filled)
    cells: list[Cluster | None] = [None] * (COLUMNS * LINES)
    for cell, c in zip(_places(centres[filled]), filled, strict=True):
        near = members[c][np.argsort(distance[members[c]], kind="stable")][:4]
        width = SMALLEST + (1 - SMALLEST) * (len(members[c]) / most) ** 0.5
        cells[cell] = Cluster(_mosaic(pool, rows[near].tolist()), round(100 * width), rows[members[c]], len(members[c]) / len(rows))
    return cells


def hashed(pool: Pool, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What to cluster without embeddings: at most `TRAINED_ON` of the rows (n,), and their perceptual hashes (n, bits) float32.

    Hashes know what lies where in a picture and how bright it is, and nothing of what it shows.
    """
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[:TRAINED_ON])
    return chosen, np.unpackbits(hashes(pool.table.take(chosen)), axis=1).astype(np.float32)


def _kmeans(vectors: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (k, d); for each vector its nearest centre (n,) and the squared distance (n,)."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(vectors))[:TRAINED_ON])
    found = faiss.Kmeans(vectors.shape[1], count, niter=ITERATIONS, seed=seed + 1, min_points_per_centroid=1, verbose=False)
    found.train(vectors[chosen])
    distance, nearest = found.index.search(vectors, 1)
    return np.asarray(found.centroids), nearest[:, 0], distance[:, 0]


def _places(centres: np.ndarray) -> list[int]:
    """For each centre a cell of its own, (k, d) -> k; the cheapest match of ranks along the two main directions with the grid."""
    _, _, directions = np.linalg.svd(centres - centres.mean(axis=0), full_matrices=False)
    flat = (centres - centres.mean(axis=0)) @ directions[:2].T
    if flat.shape[1] < 2:
        flat = np.pad(flat, ((0, 0), (0, 1)))
    flat *= np.where(flat[np.abs(flat).argmax(axis=0), (0, 1)] < 0, -1, 1)  # the sign of a direction is LAPACK's choice
    ranks = flat.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") / max(len(flat) - 1, 1)
    line, column = np.divmod(np.arange(COLUMNS * LINES), COLUMNS)
    grid = np.stack([column / (COLUMNS - 1), line / (LINES - 1)], axis=1)
    cost = ((ranks[:, None] - grid[None]) ** 2).sum(axis=2)
    return [int(cell) for cell in linear_sum_assignment(cost)[1]]


def _mosaic(pool: Pool, rows: list[int]) -> str:
    """Up to four pictures, two by two, each filling its square."""
    side = 2 * SIDE + GAP
    sheet = Image.new("RGB", (side, side), "white")
    for place, row in enumerate(rows):
        line, column = divmod(place, 2)
        sheet.paste(_square(decode(pool.read(row))), (column * (SIDE + GAP), line * (SIDE + GAP)))
    return data_uri(png(sheet))


def _square(image: Image.Image) -> Image.Image:
    """The middle square of a picture, `SIDE` pixels wide."""
    short = min(image.size)
    left, top = (image.width - short) // 2, (image.height - short) // 2
    kind = Image.Resampling.NEAREST if short < SIDE else Image.Resampling.LANCZOS
    return image.convert("RGB").resize((SIDE, SIDE), kind, box=(left, top, left + short, top + short))
