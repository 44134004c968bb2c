"""Pixels of chosen examples: decoded by byte offset from the shards, kept in memory where they fit, ready for the views.

Threads, not processes: reading, hashing, decoding and resizing all leave Python's lock, and a picture is written straight to its
place in the batch, so nothing is copied between processes and the batch does not depend on the number of threads.
"""

import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from stages.data import uids
from stages.data.images import decode, decode_scaled
from stages.data.pool import Pool

RUN = 8  # pictures that a thread takes at a time: handing over one by one costs a twentieth of decoding them
LOST_SHARE, LOST_LEAST = 0.01, 8
TRIES = 16  # stand-ins tried for one lost picture


class Pixels:
    """uint8 images (n, 3, size, size) of pool rows, in the order of `rows`; with `fast` in torch's channels_last memory format.

    An image is scaled so that its shorter side is `size` (bicubic, antialiased) and cut to the centre square. Each is decoded
    once if all of them fit into `cache_gb`, else each time it is asked for.

    A picture whose bytes are gone, no longer hash to its uid or no longer decode is lost: it is named on stderr, kept in `lost`
    (uid -> reason), and another example stands in for it, drawn by its uid alone, so a resumed run and any number of threads see
    the same one. `seen` says who was seen for whom. More than `LOST_LEAST` lost, and more than `LOST_SHARE` of what was read, is
    an error.

    Args:
        fast: decode and resize in about half the time, to other pixels: jpegs larger than `size` are scaled down while they are
            decoded (`stages.data.images.decode_scaled` says what differs), and torch resizes what is left to resize, with
            coefficients of 16 bits where Pillow's have 22 (0.2 % of the values differ, by 2 levels at most). png and webp
            differ by the latter only. For scoring at low resolution, and where decoding is what training waits for.
    """

    def __init__(self, pool: Pool, rows: np.ndarray, size: int, cache_gb: float, threads: int, fast: bool = False) -> None:
        self.pool, self.rows, self.size, self.fast = pool, rows, size, fast
        self.lost: dict[str, str] = {}
        self.read = 0
        self._stand_in: dict[int, int] = {}
        self._lock = threading.Lock()
        fits = len(rows) * 3 * size * size <= cache_gb * 1e9
        self._cache = self._space(len(rows)) if fits else None
        self._ready = np.zeros(len(rows) if fits else 0, bool)
        self._at_once = threads
        self._threads = ThreadPoolExecutor(threads)
        self._ahead = ThreadPoolExecutor(1)

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, indices: np.ndarray) -> Tensor:
        """uint8 (k, 3, size, size) for indices (k,) into `rows`.

        Raises:
            ValueError: when too many are lost.
        """
        if self._cache is None:
            out = self._space(len(indices))
            self._fill(out, np.arange(len(indices)), indices)
            return torch.from_numpy(out)
        missing = np.unique(indices[~self._ready[indices]])
        self._fill(self._cache, missing, missing)
        self._ready[missing] = True
        return torch.from_numpy(self._cache[indices])

    def ahead(self, indices: np.ndarray) -> "Future[Tensor]":
        """The same in the background, so that the next super-batch is decoded while this one is trained on."""
        self.pool.soon(self.rows[indices if self._cache is None else indices[~self._ready[indices]]])
        return self._ahead.submit(self.get, indices)

    def seen(self, indices: np.ndarray) -> np.ndarray:
        """Whose pictures `get` gave for these indices (k,): their own, or for a lost one the index of its stand-in."""
        if not self._stand_in:
            return indices
        return np.array([self._stand_in.get(int(index), int(index)) for index in indices], indices.dtype)

    def state(self) -> dict[str, Any]:
        """For a checkpoint: what is lost, and of how many pictures read."""
        with self._lock:
            return {"read": self.read, "lost": dict(self.lost)}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.read, self.lost = state["read"], dict(state["lost"])

    def _space(self, count: int) -> np.ndarray:
        """Room for pictures, (count, 3, size, size). Those of `fast` lie with their colours innermost, as decoders leave them."""
        shape = (count, 3, self.size, self.size)
        return np.empty((count, self.size, self.size, 3), np.uint8).transpose(0, 3, 1, 2) if self.fast else np.empty(shape, np.uint8)

    def _fill(self, out: np.ndarray, places: np.ndarray, indices: np.ndarray) -> None:
        """Decode `indices` (k,) into `out` at `places` (k,), read in the order in which they lie on disk."""
        if not len(indices):
            return
        rows, index = self.rows[indices], self.pool.index
        order = np.lexsort((index.offset[rows], index.shard[rows]))

        def run(part: np.ndarray) -> None:
            for at in part:
                out[places[at]] = self._decode(int(indices[at]))

        last = max(0, len(order) - RUN * self._at_once)  # handed over one by one, so that all threads end together
        for _ in self._threads.map(run, np.split(order, [*range(RUN, last, RUN), *range(last, len(order))])):
            pass
        self.read += len(indices)
        self._refuse_many()

    def _decode(self, index: int) -> np.ndarray:
        if index not in self._stand_in:
            try:
                return self._own(index)
            except MemoryError:
                raise
            except Exception as error:  # decoders meet hostile bytes here, and raise anything from struct.error to RecursionError
                return self._instead(index, str(error).splitlines()[0] if str(error) else type(error).__name__)
        return self._own(self._stand_in[index])

    def _own(self, index: int) -> np.ndarray:
        row = int(self.rows[index])
        data = self.pool.read(row)
        if uids.of(data) != self.pool.index.uid(row):
            raise ValueError("its bytes were altered")
        return self._picture(data)

    def _picture(self, data: bytes) -> np.ndarray:
        return square_fast(decode_scaled(data, self.size), self.size) if self.fast else square(decode(data), self.size)

    def _instead(self, index: int, reason: str) -> np.ndarray:
        uid = self.pool.index.uid(int(self.rows[index]))
        for attempt in range(TRIES):
            other = int(uids.fraction("stand-in", uid, attempt) * len(self))
            try:
                pixels = self._own(other)
            except MemoryError:
                raise
            except Exception:
                continue
            with self._lock:
                self._stand_in[index] = other
                if uid not in self.lost:  # said while the lock is held: print writes a line and its end apart
                    instead = self.pool.index.uid(int(self.rows[other]))
                    print(f"lost {uid}: {reason}; {instead} stands in for it", file=sys.stderr, flush=True)
                self.lost[uid] = reason
            return pixels
        raise ValueError(f"{self.pool.folder}: uid {uid} is lost ({reason}), and so are {TRIES} others; run: dvc repro -f ingest")

    def _refuse_many(self) -> None:
        read = min(self.read, len(self))
        if len(self.lost) > max(LOST_LEAST, LOST_SHARE * read):
            uid, reason = min(self.lost.items())
            what = f"{len(self.lost)} of {read} pictures read are lost, more than {LOST_SHARE:.0%}"
            raise ValueError(f"{self.pool.folder}: {what} (uid {uid}: {reason}); run: dvc repro -f ingest")


def square(image: Image.Image, size: int) -> np.ndarray:
    """An RGB image -> uint8 (3, size, size), a view with colours innermost in memory: shorter side to `size`, centre square."""
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def square_fast(pixels: np.ndarray, size: int) -> np.ndarray:
    """uint8 (height, width, 3) -> (3, size, size) as `square`, by torch's filter."""
    if pixels.shape[:2] == (size, size):
        return pixels.transpose(2, 0, 1)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    scale = size / min(pixels.shape[:2])
    height, width = (max(size, round(side * scale)) for side in pixels.shape[:2])
    planes = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)
    top, left = (height - size) // 2, (width - size) // 2
    return planes[0, :, top : top + size, left : left + size].numpy()
