"""The cluster map of a page: k-means, each cluster shown as a mosaic of the examples nearest to its centre.

Clusters lie on a grid whose cells are matched to the centres' two main directions, so that neighbours look
alike. A mosaic's width is the square root of its cluster's share. The map is a picture to look at, not a part
of the version: floats may round differently on another machine.
"""

from dataclasses import dataclass

import faiss
import numpy as np
from PIL import Image
from scipy.optimize import linear_sum_assignment

from winnow.pool.images import decode
from winnow.pool.pool import Pool
from winnow.report.page.tiles import SIDE, data_uri, png
from winnow.report.version.vectors import Vectors

COLUMNS, LINES = 6, 4
ITERATIONS = 20
GAP = 2  # pixels between the pictures of a mosaic
SMALLEST = 0.45  # width of the smallest mosaic, of its cell


@dataclass(frozen=True)
class Cluster:
    """One cell of the map: a mosaic as a data URI, its width in percent of the cell, the rows of the pool in
    it, and their share of the whole map.
    """

    image: str
    width: int
    rows: np.ndarray
    share: float


def cluster_map(pool: Pool, what: Vectors, seed: int) -> list[Cluster | None]:
    """The cells of the map, line by line; None for a cell without a cluster."""
    rows = what.rows
    if len(rows) < 2:
        return []
    centres, nearest, distance = _kmeans(what.values, min(COLUMNS * LINES, max(2, len(rows) // 4)), seed)
    members = [np.flatnonzero(nearest == c) for c in range(len(centres))]
    filled = [c for c in range(len(centres)) if len(members[c])]
    most = max(len(members[c]) for c in filled)
    cells: list[Cluster | None] = [None] * (COLUMNS * LINES)
    for cell, c in zip(_places(centres[filled]), filled, strict=True):
        near = members[c][np.argsort(distance[members[c]], kind="stable")][:4]
        width = round(100 * (SMALLEST + (1 - SMALLEST) * (len(members[c]) / most) ** 0.5))
        share = len(members[c]) / len(rows)
        cells[cell] = Cluster(_mosaic(pool, rows[near].tolist()), width, rows[members[c]], share)
    return cells


def _kmeans(vectors: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres (k, d); for each vector its nearest centre (n,) and the squared distance to it (n,)."""
    vectors = np.ascontiguousarray(vectors, np.float32)
    trained = faiss.Kmeans(
        vectors.shape[1], count, niter=ITERATIONS, seed=seed + 1, min_points_per_centroid=1
    )
    trained.train(vectors)
    distance, nearest = trained.index.search(vectors, 1)
    return np.asarray(trained.centroids), nearest[:, 0], distance[:, 0]


def _places(centres: np.ndarray) -> list[int]:
    """For each of the centres (k, d) a cell of its own: the cheapest match of their ranks along the two main
    directions with the grid.
    """
    _, _, directions = np.linalg.svd(centres - centres.mean(axis=0), full_matrices=False)
    flat = (centres - centres.mean(axis=0)) @ directions[:2].T
    if flat.shape[1] < 2:
        flat = np.pad(flat, ((0, 0), (0, 1)))
    # The sign of a direction is LAPACK's choice.
    flat *= np.where(flat[np.abs(flat).argmax(axis=0), (0, 1)] < 0, -1, 1)
    ranks = flat.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable") / max(len(flat) - 1, 1)
    line, column = np.divmod(np.arange(COLUMNS * LINES), COLUMNS)
    grid = np.stack([column / (COLUMNS - 1), line / (LINES - 1)], axis=1)
    cost = ((ranks[:, None] - grid[None]) ** 2).sum(axis=2)
    return [int(cell) for cell in linear_sum_assignment(cost)[1]]


def _mosaic(pool: Pool, rows: list[int]) -> str:
    """Up to four pictures, two by two, each cut to a square."""
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
