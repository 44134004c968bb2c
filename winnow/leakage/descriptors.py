"""What two thumbnails are first compared by: the low frequencies of windows of the picture, in whole numbers.

A descriptor is the discrete cosine transform of a window of the thumbnail: 5 x 5 frequencies of the luma and
4 x 4 of each plane of the chroma, without the mean. Three things make it the same for the same shot, and
different for others:

- each coefficient is multiplied by its frequency. The amplitudes of photographs fall like one over the
  frequency, so this makes all coefficients about equally large, and unrelated pictures correlate little;
- luma and chroma have equal norms, so brightness, contrast and saturation fall out;
- what the chroma shares with the luma is taken out, so a cast of the light falls out too.

A picture without colour has no chroma part, and a longer luma part, `GREY` times as long as it would be, so
that the grey copy of a colour picture competes with coloured strangers.

Coefficients are rounded to whole numbers, and no sum of products of two descriptors reaches 2**24. So float32
matrix products are exact, in any order: the same on every machine and for every size of block.
"""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np

from winnow.leakage.thumbnails import CHROMA_SIDE, LUMA_SIDE, Thumbnails

UNIT = 2000.0  # the norm of a descriptor of a colour picture; (GREY * UNIT)**2 is below 2**24
GREY = 1.3
LUMA, CHROMA = 5, 4  # frequencies a side
FAINT = 0.1  # chroma of less than this part of the luma counts for less
CHUNK = 1024  # pictures at once
Window = tuple[float, float, float]  # left, top, side, in parts of the picture's sides
WHOLE: Window = (0.0, 0.0, 1.0)
SIDE = 0.8


@dataclass(frozen=True)
class View:
    """A window of the other picture is compared with a window of the held-out one, or of its mirror image."""

    other: Window
    held: Window
    mirrored: bool


def _windows() -> list[Window]:
    far = 1 - SIDE
    places = [*itertools.product((0.0, far), repeat=2), (far / 2, far / 2)]
    return [(x, y, SIDE) for x, y in places]


def views(mirrored: bool) -> list[View]:
    """The 11 views, 22 with the mirrored ones: whole pictures, or a window of one and the whole of the
    other.
    """
    pairs = [(WHOLE, WHOLE), *((WHOLE, w) for w in _windows()), *((w, WHOLE) for w in _windows())]
    return [View(*pair, turned) for turned in (False, True)[: 1 + mirrored] for pair in pairs]


@cache
def _transform(count: int, start: float, side: float, pixels: int) -> np.ndarray:
    """DCT-II (count, pixels) of the window [start, start + side] of a row, read linearly between pixels, by
    sums in a fixed order.
    """
    samples = LUMA_SIDE
    at = np.clip((start + (np.arange(samples) + 0.5) / samples * side) * pixels - 0.5, 0, pixels - 1)
    left = np.minimum(at.astype(int), pixels - 2)
    read = np.zeros((samples, pixels))
    read[np.arange(samples), left] = 1 - (at - left)
    read[np.arange(samples), left + 1] += at - left
    wave = np.cos(np.pi * np.arange(count)[:, None] * (np.arange(samples) + 0.5) / samples)
    wave = np.rint(wave * 2.0**14) / 2.0**14  # the last bit of a cosine differs between machines
    wave[0] *= 0.5**0.5
    result: np.ndarray = (wave[:, :, None] * read).sum(axis=1) / samples
    return result


@cache
def _basis(window: Window, count: int, pixels: int) -> np.ndarray:
    """(pixels * pixels, count * count - 1) whole numbers as float64, so that sums of pixels are exact."""
    x, y = (_transform(count, start, window[2], pixels) for start in window[:2])
    frequency = np.sqrt(np.arange(count)[:, None] ** 2.0 + np.arange(count) ** 2.0)
    full = y[:, None, :, None] * x[None, :, None, :] * frequency[:, :, None, None]
    return np.ascontiguousarray(np.rint(full.reshape(count * count, -1)[1:].T * 2.0**16))


def descriptors(thumbnails: Thumbnails, window: Window) -> np.ndarray:
    """(n, 54) float32 of whole numbers; 0 for a blank window."""
    made = np.empty((len(thumbnails), LUMA**2 - 1 + 2 * (CHROMA**2 - 1)), np.float32)
    for start in range(0, len(thumbnails), CHUNK):
        part = slice(start, start + CHUNK)
        made[part] = _describe(thumbnails.luma[part], thumbnails.chroma[part], window)
    return made


def _describe(luma: np.ndarray, chroma: np.ndarray, window: Window) -> np.ndarray:
    light = luma.reshape(len(luma), -1).astype(np.float64) @ _basis(window, LUMA, LUMA_SIDE)
    planes = chroma.reshape(len(luma), 2, -1).astype(np.float64) @ _basis(window, CHROMA, CHROMA_SIDE)
    same = [y * LUMA + x - 1 for y, x in itertools.product(range(CHROMA), repeat=2) if y or x]
    shared = light[:, None, same]
    power = np.maximum((shared * shared).sum(axis=2, keepdims=True), 1)
    share = (planes * shared).sum(axis=2, keepdims=True) / power
    colour = (planes - share * shared).reshape(len(luma), -1)
    size = np.sqrt((light * light).sum(axis=1, keepdims=True))
    hue = np.sqrt((colour * colour).sum(axis=1, keepdims=True))
    light = light / np.maximum(size, 1)
    colour = colour / np.maximum(np.maximum(hue, FAINT * size), 1)
    part = hue / np.maximum(np.maximum(hue, FAINT * size), 1)  # 1, or less where there is little colour
    scale = UNIT * (GREY - (GREY - 1) * part) / np.sqrt(1 + part * part)
    return np.rint(np.concatenate([light, colour], axis=1) * scale).astype(np.float32)
