"""How one thumbnail must be shifted and stretched to lie on another, by least squares.

For other pixels a and held pixels b, Gauss-Newton steps fit a(x, y) = gain * b(sx * x + tx, sy * y + ty) +
offset where both pictures are (Lucas and Kanade 1981, with the gain and offset of the light as unknowns).
Coordinates run from -1 to 1 over a picture's side.

The arithmetic is exact or in a fixed order, so that results are the same on every machine, in blocks of every
size: positions are rounded to 1/64 pixel and pixels to 1/16 level, so that products of matrices are sums of
whole numbers below 2**53; the small systems are solved by elimination, element by element.
"""

import numpy as np

from winnow.leakage.descriptors import View

FINE = 64  # positions to a pixel
LEVELS = 16  # values to a grey level
PLACE = 4096.0  # to which shifts and stretches are rounded
MOST, STEP = 0.35, 0.12  # how far a registration may go in total, and at once
RIDGE = 0.03


def start(view: View) -> tuple[float, float, float, float]:
    """(sx, tx, sy, ty) at which the view's windows lie on each other."""
    stretch = view.held[2] / view.other[2]
    tx, ty = (2 * (view.held[i] + (0.5 - view.other[i]) * stretch) - 1 for i in (0, 1))
    return stretch, tx, stretch, ty


def coordinates(side: int) -> np.ndarray:
    """The centres of the pixels of a side."""
    return (np.arange(side) + 0.5) * (2 / side) - 1


def warp(pixels: np.ndarray, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (n, side, side) read at `place` (n, 4).

    Returns:
        Whole numbers, `LEVELS` to a grey level, (n, side, side) float32, and where the picture is, bool.
    """
    side = pixels.shape[-1]
    line = coordinates(side)
    x, y = (place[:, i, None] * line + place[:, i + 1, None] for i in (0, 2))
    read = np.matmul(np.matmul(_weights(y, side), pixels), _weights(x, side).transpose(0, 2, 1))
    inside = (np.abs(y) <= 1)[:, :, None] & (np.abs(x) <= 1)[:, None, :]
    return np.rint(read * (LEVELS / FINE**2)), inside


def _weights(at: np.ndarray, side: int) -> np.ndarray:
    """Linear interpolation (n, k, side) at positions (n, k), in whole numbers that add up to `FINE`."""
    fine = np.rint(np.clip((at + 1) * (side / 2) - 0.5, 0, side - 1) * FINE)
    return np.maximum(FINE - np.abs(fine[..., None] - FINE * np.arange(side)), 0).astype(np.float32)


def step(other: np.ndarray, held: np.ndarray, place: np.ndarray, first: np.ndarray) -> np.ndarray:
    """One Gauss-Newton step.

    Args:
        other: (n, side, side), `LEVELS` to a grey level.
        held: (n, side, side), in grey levels.
        place: (n, 4), where the held pictures are read now; `first`, where they were at first.

    Returns:
        The next place, (n, 4).
    """
    side = other.shape[-1]
    line = coordinates(side)
    now, inside = warp(held, place)
    now *= inside
    slope_x, slope_y = np.zeros_like(now), np.zeros_like(now)
    slope_x[:, :, 1:-1] = now[:, :, 2:] - now[:, :, :-2]
    slope_y[:, 1:-1] = now[:, 2:] - now[:, :-2]
    # slopes at the border of what both show would be of the border
    slope_x[:, :, 1:-1] *= inside[:, :, 2:] & inside[:, :, :-2]
    slope_y[:, 1:-1] *= inside[:, 2:] & inside[:, :-2]
    columns = np.empty((len(now), 6, side, side))
    columns[:, 0], columns[:, 1] = now, inside * 256.0
    columns[:, 2] = np.rint(slope_x * line * (side / 2))
    columns[:, 3], columns[:, 5] = slope_x, slope_y
    columns[:, 4] = np.rint(slope_y * line[:, None] * (side / 2))
    flat = columns.reshape(len(now), 6, -1)
    normal = flat @ flat.transpose(0, 2, 1)
    right = (flat @ (other * inside).reshape(len(now), -1, 1).astype(np.float64))[..., 0]
    diagonal = np.einsum("nii->ni", normal)
    diagonal[:, :2] += 1
    diagonal[:, 2:] += RIDGE * diagonal[:, 2:] + 1
    found = _solve(normal, right)
    gain = found[:, 0]
    sound = np.abs(gain) > 0.1
    # slopes are over two pixels; the fitted moves are in pixels of the other, times the gain
    move = 2 * found[:, 2:] / np.where(sound, gain, 1)[:, None] * np.array([1, 2 / side, 1, 2 / side])
    move *= place[:, [0, 0, 2, 2]] * sound[:, None]
    moved = place + np.clip(move, -STEP, STEP)
    return np.clip(np.rint(moved * PLACE) / PLACE, first - MOST, first + MOST)


def _solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions (n, k) of positive definite systems (n, k, k), (n, k)."""
    matrices, right = matrices.copy(), right.copy()
    size = right.shape[1]
    for i in range(size):
        factor = matrices[:, i + 1 :, i] / matrices[:, i, i, None]
        matrices[:, i + 1 :] -= factor[:, :, None] * matrices[:, None, i]
        right[:, i + 1 :] -= factor * right[:, i, None]
    for i in reversed(range(size)):
        right[:, i] /= matrices[:, i, i]
        right[:, :i] -= matrices[:, :i, i] * right[:, i, None]
    return right
