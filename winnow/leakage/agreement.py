"""How well two registered thumbnails agree: in their pixels, their details, and where in the picture.

Sums are of whole numbers and exact, or in a fixed order.
"""

import numpy as np

from winnow.leakage.registration import LEVELS, warp

MEAN = (1, 4, 6, 4, 1)  # of 16, along each side
MARGIN = 2  # pixels at the border of what both show, whose mean would need what lies beyond
FEW, FEW_COST = 130.0, 0.3
ZOOM, ZOOM_COST = 1.35, 0.4
MOVED, MOVED_COST, MOVES = 0.25, 0.5, [(y, x) for y in (-4, 0, 4) for x in (-4, 0, 4) if y or x]

Agreement = tuple[np.ndarray, np.ndarray, np.ndarray]


def pixels_agree(other: np.ndarray, held: np.ndarray, place: np.ndarray) -> Agreement:
    """The correlation of the pixels of thumbnails (n, side, side) in grey levels, the held read at `place`.

    Returns:
        (n,) each: the correlation where both are, the lesser of the two standard deviations in grey levels,
        and the part of the other picture that both show.
    """
    read, inside = warp(held, place)
    r, variance = correlation(other * LEVELS, read, inside)
    return r, np.sqrt(variance) / LEVELS, inside.mean(axis=(1, 2))


def details_agree(other: np.ndarray, held: np.ndarray, place: np.ndarray) -> Agreement:
    """As `pixels_agree`, of the details."""
    read, inside = warp(held, place)
    r, variance = correlation(_details(other * LEVELS), _details(read), _inner(inside))
    return r, np.sqrt(variance) / (LEVELS * 256), inside.mean(axis=(1, 2))


def _details(pixels: np.ndarray) -> np.ndarray:
    """256 times (the pixels less their weighted mean), (n, side, side); whole numbers."""
    side = pixels.shape[-1]
    padded = np.pad(pixels, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="edge")
    rows, mean = np.zeros_like(padded[:, :side]), np.zeros_like(pixels)
    for i, weight in enumerate(MEAN):
        rows += weight * padded[:, i : i + side]
    for i, weight in enumerate(MEAN):
        mean += weight * rows[:, :, i : i + side]
    return 256 * pixels - mean


def _inner(inside: np.ndarray) -> np.ndarray:
    """What lies `MARGIN` pixels within the rectangle, where that is not the border of the other itself."""
    padded = np.pad(inside, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)), mode="edge")
    side = inside.shape[-1]
    rows = padded[:, :side] & padded[:, 2 * MARGIN :]
    inner: np.ndarray = rows[:, :, :side] & rows[:, :, 2 * MARGIN :]
    return inner


def correlation(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's r where `where`, and the lesser variance."""
    var_a, var_b, together = moments(a, b, where)
    count = np.maximum(where.sum(axis=(1, 2)), 1)
    return together / np.sqrt(np.maximum(var_a * var_b, 1e-9)), np.minimum(var_a, var_b) / count


def moments(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Sums of squares of a and b and of their products, about their means where `where`: (3, n), from exact
    sums of whole numbers.
    """
    flat = where.reshape(len(where), where.shape[1] * where.shape[2])
    count = np.maximum(flat.sum(axis=1), 1).astype(np.float64)
    x, y = ((v.reshape(flat.shape) * flat).astype(np.float64) for v in (a, b))
    sum_x, sum_y = x.sum(axis=1), y.sum(axis=1)
    squares = ((x * x).sum(axis=1) - sum_x * sum_x / count, (y * y).sum(axis=1) - sum_y * sum_y / count)
    return np.stack([*(np.maximum(each, 0) for each in squares), (x * y).sum(axis=1) - sum_x * sum_y / count])


def shared_details(other: np.ndarray, held: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The details of both, (n, side, side) float64 of whole numbers, 0 but where `details_agree` looks."""
    read, inside = warp(held, place)
    inner = _inner(inside)
    a, b = ((_details(pixels) * inner).astype(np.float64) for pixels in (other * LEVELS, read))
    return a, b


def lack_of_evidence(other: np.ndarray, held: np.ndarray, place: np.ndarray) -> np.ndarray:
    """What a score is lessened by, (n,), because details agree for lack of any others.

    A bird in a blank sky agrees with another in a few pixels: up to `FEW_COST`, if fewer than `FEW` pixels
    agree, by the participation ratio of their products. One horizon agrees with another wherever it lies on
    it: `MOVED_COST` times what the correlation has above `MOVED` when one picture is moved by 4 pixels. A
    flower agrees with another once it is stretched enough, and few same shots are: `ZOOM_COST` times what the
    stretch of either side has above `ZOOM`, which is a window of 55 % of the area.
    """
    a, b = shared_details(other, held, place)
    parts = np.abs(a * b).reshape(len(a), a.shape[1] * a.shape[2]) / 2.0**20
    pixels = parts.sum(axis=1) ** 2 / np.maximum((parts * parts).sum(axis=1), 1e-9)
    norm = np.sqrt(np.maximum((a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2)), 1e-9))
    moved = np.zeros(len(a))
    for move in MOVES:
        moved = np.maximum(moved, (a * np.roll(b, move, axis=(1, 2))).sum(axis=(1, 2)) / norm)
    stretch = place[:, [0, 2]]
    zoom = np.maximum(stretch, 1 / stretch).max(axis=1)
    few = FEW_COST * np.maximum(1 - pixels / FEW, 0)
    far = ZOOM_COST * np.maximum(zoom - ZOOM, 0)
    lack: np.ndarray = few + far + MOVED_COST * np.maximum(moved - MOVED, 0)
    return lack
