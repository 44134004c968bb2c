"""Whole pictures of different sizes, and the crops that views are made of.

A picture is decoded once for all of its views. A crop's box is drawn on the stored picture, whatever the
decoder was asked for, and resized (bicubic, antialiased) to the view's size. The decoder is asked for no more
than the views can use: a jpg is scaled down while it is decoded, to the smallest number of eighths of its
sides at which not even the smallest box that the recipe allows need be enlarged for it. So no view is less
sharp than a crop of the full picture (benchmarks/views.md), and a picture's pixels do not depend on the
boxes: it may be cached, and the boxes are drawn later.

Memory: what is kept of a picture lets the smallest box fill its view, so for a view of S pixels and a
least scale of s it has 4/3 S^2 / s pixels, fourfold at worst for the rounding to eighths: for 128 px and 0.05
about 0.4 million pixels, or 1.3 MB, at most 5 MB.
"""

import math
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from winnow.config.schema import View
from winnow.loading.noise import Noise
from winnow.loading.pixels import Source
from winnow.pool.images import decode_scaled
from winnow.pool.pool import Pool

RATIO = (3 / 4, 4 / 3)  # aspect ratios of a crop, as in Inception-style cropping
ATTEMPTS = 10  # draws of a box that fits, as in torchvision
CPU = torch.device("cpu")
RUN = 4  # pictures per task of a thread


@dataclass(frozen=True)
class Crops:
    """A box (k, 4) for each picture: top, left, height and width in stored pixels; `mirror` (k,) bool."""

    size: int
    boxes: np.ndarray
    mirror: np.ndarray


@dataclass(frozen=True)
class Pictures:
    """k whole pictures, each uint8 (h, w, 3), of which `sides` (k, 2) is the stored height and width.

    `numbers` (k,) uint64 tell the examples apart, `size` is the side of a view that names none.
    """

    arrays: list[np.ndarray]
    sides: np.ndarray
    numbers: np.ndarray
    size: int
    threads: Executor
    device: torch.device = CPU

    def __len__(self) -> int:
        return len(self.arrays)

    def __getitem__(self, rows: Tensor | slice) -> "Pictures":
        chosen = np.arange(len(self))[rows if isinstance(rows, slice) else rows.numpy()]
        arrays = [self.arrays[row] for row in chosen]
        return replace(self, arrays=arrays, sides=self.sides[chosen], numbers=self.numbers[chosen])

    def to(self, device: torch.device) -> "Pictures":
        """The same pictures; what is cut from them goes to this device."""
        return replace(self, device=device)

    def noise(self, generator: Generator) -> Noise:
        """Draws by the generator's seed and the example, whatever else is in the batch."""
        return Noise(generator.initial_seed(), self.numbers)

    def crops(self, view: View, noise: Noise) -> Crops:
        """The boxes of one draw of a view: random ones by its scale, or the centre squares."""
        size = view.size or self.size
        if view.scale is None:
            return Crops(size, centres(self.sides), np.zeros(len(self), bool))
        found = boxes(self.sides, (view.scale[0], view.scale[1]), noise)
        return Crops(size, found, noise().numpy() < view.flip)

    def cut(self, wanted: Sequence[Crops]) -> list[Tensor]:
        """uint8 (k, 3, size, size) of each of `wanted`, on the device; a picture's crops are cut together."""
        out = [torch.empty(len(self), 3, crops.size, crops.size, dtype=torch.uint8) for crops in wanted]

        def run(rows: Iterable[int]) -> None:
            for row in rows:
                for crops, views in zip(wanted, out, strict=True):
                    pixels = _cut(self.arrays[row], self.sides[row], crops.boxes[row], crops.size)
                    views[row] = pixels.flip(-1) if crops.mirror[row] else pixels

        parts = np.split(np.arange(len(self)), range(RUN, len(self), RUN))
        for _ in self.threads.map(run, parts):
            pass
        return [views.to(self.device, non_blocking=True) for views in out]


def _cut(pixels: np.ndarray, sides: np.ndarray, box: np.ndarray, size: int) -> Tensor:
    """The box of a picture's stored pixels, cut from what was decoded of it, (3, size, size)."""
    scale = np.array(pixels.shape[:2]) / sides
    first = np.minimum(np.rint(box[:2] * scale).astype(int), np.array(pixels.shape[:2]) - 1)
    last = np.maximum(np.rint((box[:2] + box[2:]) * scale).astype(int), first + 1)
    planes = torch.from_numpy(pixels[first[0] : last[0], first[1] : last[1]]).permute(2, 0, 1)
    if planes.shape[1:] == (size, size):
        return planes
    return F.interpolate(planes[None], size=(size, size), mode="bicubic", antialias=True)[0]


def boxes(sides: np.ndarray, scale: tuple[float, float], noise: Noise) -> np.ndarray:
    """Random boxes (k, 4) within pictures of `sides` (k, 2), by the rule of torchvision's RandomResizedCrop.

    The area is uniform in `scale`, the aspect ratio log-uniform in `RATIO`, the place uniform. Of `ATTEMPTS`
    draws the first that fits into the picture counts; where none does, the box is the largest centred one
    whose ratio is allowed.
    """
    high, wide = sides[:, :1], sides[:, 1:]
    share, shape = noise(2, ATTEMPTS).double().numpy().transpose(1, 0, 2)
    area = high * wide * (scale[0] + (scale[1] - scale[0]) * share)
    ratio = np.exp(math.log(RATIO[0]) + math.log(RATIO[1] / RATIO[0]) * shape)
    width, height = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (width > 0) & (width <= wide) & (height > 0) & (height <= high)
    first = fits.argmax(axis=1)[:, None]
    size = np.concatenate([np.take_along_axis(side, first, 1) for side in (height, width)], 1)
    found = fits.any(axis=1)[:, None]
    size = np.where(found, size, _largest(sides))
    place = np.floor(noise(2).double().numpy() * (sides - size + 1))
    place = np.where(found, place, (sides - size) // 2)
    return np.concatenate([place, size], 1).astype(np.int64)


def _largest(sides: np.ndarray) -> np.ndarray:
    """The height and width of the largest box of an allowed ratio, (k, 2)."""
    height, width = sides[:, 0], sides[:, 1]
    least, most = RATIO
    return np.stack(
        [np.minimum(height, np.rint(width / least)), np.minimum(width, np.rint(height * most))], axis=1
    )


def centres(sides: np.ndarray) -> np.ndarray:
    """The centre squares (k, 4) of pictures of `sides` (k, 2)."""
    shorter = sides.min(axis=1, keepdims=True)
    return np.concatenate([(sides - shorter) // 2, shorter, shorter], 1)


def kept_sides(sides: np.ndarray, views: Iterable[View], size: int) -> np.ndarray:
    """The height and width (n, 2) to which pictures of `sides` (n, 2) may be scaled down for `views`.

    They are the smallest whole numbers of eighths at which no view is enlarged that need not be enlarged from
    the stored picture too. `size` is the side of a view that names none.
    """
    height, width = sides.astype(np.float64).T
    factor = np.zeros(len(sides))
    for view in views:
        shortest = np.minimum(height, width)
        if view.scale is not None:
            shortest = np.minimum(shortest, np.sqrt(view.scale[0] * height * width * RATIO[0]))
        factor = np.maximum(factor, (view.size or size) / shortest)
    eighths = np.clip(np.ceil(8 * factor - 1e-9), 1, 8).astype(np.int32)[:, None]
    return -(-sides.astype(np.int32) * eighths // 8)


class WholePictures(Source[Pictures]):
    """Whole pictures of pool rows, decoded as far as any of `views` can use them.

    Args:
        sides: (n, 2), the height and width of each, as the index has them.
        views: all that will be cut.
        size: the side of a view that names none.
    """

    def __init__(
        self,
        pool: Pool,
        rows: np.ndarray,
        sides: np.ndarray,
        views: Iterable[View],
        size: int,
        cache_gb: float,
        threads: int,
    ) -> None:
        self._stored, self._kept = sides, kept_sides(sides, views, size)
        self._cutters = ThreadPoolExecutor(threads)  # must not wait for the next super-batch to be decoded
        super().__init__(pool, rows, size, cache_gb, threads)

    def _bytes(self) -> int:
        return 3 * int(self._kept.astype(np.int64).prod(axis=1).sum())

    def _space(self, count: int) -> np.ndarray:
        return np.empty(count, object)

    def _decoded(self, data: bytes, index: int) -> np.ndarray:
        return decoded(data, int(self._kept[index, 0]), int(self._kept[index, 1]))

    def _batch(self, decoded: np.ndarray, indices: np.ndarray) -> Pictures:
        shown, index = self.substituted_indices(indices), self.pool.index
        numbers = index.high[index.place[self.rows[shown]]]
        return Pictures(list(decoded), self._stored[shown], numbers, self.size, self._cutters)


def decoded(data: bytes, height: int, width: int) -> np.ndarray:
    """The image as uint8 (height, width, 3), scaled down to that; `decode_scaled` says how a jpg is."""
    pixels = decode_scaled(data, min(height, width))
    if pixels.shape[:2] == (height, width):
        return pixels
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    smaller = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)[0]
    return np.ascontiguousarray(smaller.permute(1, 2, 0).numpy())
