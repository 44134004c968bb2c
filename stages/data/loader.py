"""Pixels of chosen examples: decoded by byte offset from the shards, kept in memory where they fit, ready for the views."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stages.data.images import decode
from stages.data.pool import Pool


class Pixels:
    """uint8 images (n, 3, size, size) of pool rows, in the order of `rows`.

    An image is scaled so that its shorter side is `size` (bicubic, antialiased) and cut to the centre square. Each is decoded
    once if all of them fit into `cache_gb`, else each time it is asked for.
    """

    def __init__(self, pool: Pool, rows: np.ndarray, size: int, cache_gb: float, threads: int) -> None:
        self.pool, self.rows, self.size = pool, rows, size
        fits = len(rows) * 3 * size * size <= cache_gb * 1e9
        self._cache = np.empty((len(rows), 3, size, size), np.uint8) if fits else None
        self._ready = np.zeros(len(rows), bool)
        self._threads = ThreadPoolExecutor(threads)
        self._ahead = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, indices: np.ndarray) -> Tensor:
        """uint8 (k, 3, size, size) for indices (k,) into `rows`."""
        if self._cache is None:
            return torch.from_numpy(np.stack(list(self._threads.map(self._decode, indices))))
        missing = indices[~self._ready[indices]]
        for index, image in zip(missing, self._threads.map(self._decode, missing), strict=True):
            self._cache[index] = image
        self._ready[missing] = True
        return torch.from_numpy(self._cache[indices])

    def ahead(self, indices: np.ndarray) -> "Future[Tensor]":
        """The same in the background, so that the next super-batch is decoded while this one is trained on."""
        return self._ahead.submit(self.get, indices)

    def _decode(self, index: int) -> np.ndarray:
        return square(decode(self.pool.read(int(self.rows[index]))), self.size)


def square(image: Image.Image, size: int) -> np.ndarray:
    """An RGB image -> uint8 (3, size, size): shorter side to `size`, centre square."""
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1))
