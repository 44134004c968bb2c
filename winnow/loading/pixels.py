"""Pictures of chosen examples, read by byte offset from the shards, and cached in memory where they fit.

`Source` has the reading, the threads, the cache and the stand-ins for lost pictures. `Pixels`, here, gives
the squares that a model is evaluated on; winnow/loading/pictures.py gives whole pictures, to cut views from.

Threads, not processes: reading, hashing, decoding and resizing release Python's lock, and a picture is
written straight to its place in the batch, so nothing is copied between processes and the batch does not
depend on the number of threads.
"""

import sys
import threading
from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from winnow.pool import uids
from winnow.pool.images import decode, decode_scaled
from winnow.pool.pool import Pool

RUN = 8  # pictures per task of a thread: submitting them one by one costs a twentieth of decoding them
LOST_SHARE, LOST_LEAST = 0.01, 8
TRIES = 16  # stand-ins tried for one lost picture
MEND = "run: dvc repro -f ingest"

T = TypeVar("T")


class Source(ABC, Generic[T]):
    """Pictures of pool rows, in the order of `rows`, as batches T for a model of `size` pixels a side.

    Each is decoded once if all of them fit into `cache_gb`, else each time it is requested.

    A picture whose bytes are gone, no longer hash to its uid or no longer decode is lost: it is named on
    stderr and in `lost` (uid -> reason), and another example stands in for it, drawn by its uid alone, so
    that a resumed run and any number of threads see the same one. `substituted_indices` maps lost examples to
    their stand-ins. More than `LOST_LEAST` lost, and more than `LOST_SHARE` of what was read, is an error.
    """

    def __init__(self, pool: Pool, rows: np.ndarray, size: int, cache_gb: float, threads: int) -> None:
        self.pool, self.rows, self.size = pool, rows, size
        self.lost: dict[str, str] = {}
        self.read = 0
        self._stand_in: dict[int, int] = {}
        self._lock = threading.Lock()
        fits = self._bytes() <= cache_gb * 1e9
        self._cache = self._space(len(rows)) if fits else None
        self._ready = np.zeros(len(rows) if fits else 0, bool)
        self._count = threads
        self._threads = ThreadPoolExecutor(threads)
        self._background = ThreadPoolExecutor(1)

    @abstractmethod
    def _bytes(self) -> int:
        """How much memory all pictures take, at most."""

    @abstractmethod
    def _space(self, count: int) -> np.ndarray:
        """Room for pictures; its first axis counts them."""

    @abstractmethod
    def _decoded(self, data: bytes, index: int) -> Any:
        """What is put into that room: the picture in the bytes of this index into `rows`."""

    @abstractmethod
    def _batch(self, decoded: np.ndarray, indices: np.ndarray) -> T:
        """The batch of `indices` (k,), from rooms that `_decoded` filled."""

    def __len__(self) -> int:
        return len(self.rows)

    def get(self, indices: np.ndarray) -> T:
        """The pictures of indices (k,) into `rows`.

        Raises:
            ValueError: when too many are lost.
        """
        if self._cache is None:
            out = self._space(len(indices))
            self._fill(out, np.arange(len(indices)), indices)
            return self._batch(out, indices)
        missing = np.unique(indices[~self._ready[indices]])
        self._fill(self._cache, missing, missing)
        self._ready[missing] = True
        return self._batch(self._cache[indices], indices)

    def get_async(self, indices: np.ndarray) -> "Future[T]":
        """The same in the background, to decode the next super-batch while this one is trained on."""
        missing = indices if self._cache is None else indices[~self._ready[indices]]
        self.pool.prefetch(self.rows[missing])
        return self._background.submit(self.get, indices)

    def substituted_indices(self, indices: np.ndarray) -> np.ndarray:
        """These indices (k,) with those of lost pictures replaced by the stand-ins that `get` returned."""
        if not self._stand_in:
            return indices
        return np.array([self._stand_in.get(int(index), int(index)) for index in indices], indices.dtype)

    def state(self) -> dict[str, Any]:
        """For a checkpoint: which pictures are lost, of how many that were read."""
        with self._lock:
            return {"read": self.read, "lost": dict(self.lost)}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.read, self.lost = state["read"], dict(state["lost"])

    def _fill(self, out: np.ndarray, places: np.ndarray, indices: np.ndarray) -> None:
        """Decode `indices` (k,) into `out` at `places` (k,), in the order of their bytes on disk."""
        if not len(indices):
            return
        rows, index = self.rows[indices], self.pool.index
        order = np.lexsort((index.offset[rows], index.shard[rows]))

        def run(part: np.ndarray) -> None:
            for at in part:
                out[places[at]] = self._decode(int(indices[at]))

        # The last ones are submitted one by one, so that all threads end at about the same time.
        last = max(0, len(order) - RUN * self._count)
        parts = np.split(order, [*range(RUN, last, RUN), *range(last, len(order))])
        for _ in self._threads.map(run, parts):
            pass
        self.read += len(indices)
        self._refuse_many()

    def _decode(self, index: int) -> Any:
        if index in self._stand_in:
            return self._read(self._stand_in[index])
        try:
            return self._read(index)
        except MemoryError:
            raise
        # Decoders of hostile bytes raise anything from struct.error to RecursionError.
        except Exception as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            return self._substitute(index, reason)

    def _read(self, index: int) -> Any:
        row = int(self.rows[index])
        data = self.pool.read(row)
        if uids.of(data) != self.pool.index.uid(row):
            raise ValueError("its bytes were altered")
        return self._decoded(data, index)

    def _substitute(self, index: int, reason: str) -> Any:
        uid = self.pool.index.uid(int(self.rows[index]))
        for attempt in range(TRIES):
            other = int(uids.fraction("stand-in", uid, attempt) * len(self))
            try:
                pixels = self._read(other)
            except MemoryError:
                raise
            except Exception:
                continue
            self._record_lost(index, other, uid, reason)
            return pixels
        lost = f"{self.pool.folder}: uid {uid} is lost ({reason}), and so are {TRIES} others"
        raise ValueError(f"{lost}; {MEND}")

    def _record_lost(self, index: int, other: int, uid: str, reason: str) -> None:
        with self._lock:  # held while printing too, because print writes a line and its end separately
            self._stand_in[index] = other
            if uid not in self.lost:
                instead = self.pool.index.uid(int(self.rows[other]))
                print(f"lost {uid}: {reason}; {instead} stands in for it", file=sys.stderr, flush=True)
            self.lost[uid] = reason

    def _refuse_many(self) -> None:
        read = min(self.read, len(self))
        if len(self.lost) > max(LOST_LEAST, LOST_SHARE * read):
            uid, reason = min(self.lost.items())
            what = f"{len(self.lost)} of {read} pictures read are lost, more than {LOST_SHARE:.0%}"
            raise ValueError(f"{self.pool.folder}: {what} (uid {uid}: {reason}); {MEND}")


class Pixels(Source[Tensor]):
    """uint8 images (n, 3, size, size), for evaluation, and for training where they are stored at this size.

    An image is scaled so that its shorter side is `size` (bicubic, antialiased) and cut to the centre square.

    Args:
        fast: decode and resize in about half the time, to slightly different pixels: jpegs larger than `size`
            are scaled down while they are decoded (`winnow.pool.images.decode_scaled` says what differs), and
            torch does the rest of the resizing, with coefficients of 16 bits where Pillow's have 22 (0.2 % of
            the values differ, by 2 levels at most). For scoring at low resolution, and where decoding is the
            bottleneck. Pixels are then in torch's channels_last memory format.
    """

    def __init__(
        self, pool: Pool, rows: np.ndarray, size: int, cache_gb: float, threads: int, fast: bool = False
    ) -> None:
        self.fast = fast
        super().__init__(pool, rows, size, cache_gb, threads)

    def _bytes(self) -> int:
        return len(self.rows) * 3 * self.size * self.size

    def _space(self, count: int) -> np.ndarray:
        """Room for pictures, (count, 3, size, size); in channels_last format where they are `fast`."""
        if self.fast:
            return np.empty((count, self.size, self.size, 3), np.uint8).transpose(0, 3, 1, 2)
        return np.empty((count, 3, self.size, self.size), np.uint8)

    def _decoded(self, data: bytes, index: int) -> np.ndarray:
        if self.fast:
            return square_fast(decode_scaled(data, self.size), self.size)
        return square(decode(data), self.size)

    def _batch(self, decoded: np.ndarray, indices: np.ndarray) -> Tensor:
        return torch.from_numpy(decoded)


def square(image: Image.Image, size: int) -> np.ndarray:
    """An RGB image -> its centre square, uint8 (3, size, size), with colours innermost in memory."""
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return np.asarray(image.convert("RGB")).transpose(2, 0, 1)


def square_fast(pixels: np.ndarray, size: int) -> np.ndarray:
    """The same of uint8 (height, width, 3), by torch's filter."""
    if pixels.shape[:2] == (size, size):
        return pixels.transpose(2, 0, 1)
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    scale = size / min(pixels.shape[:2])
    height, width = (max(size, round(side * scale)) for side in pixels.shape[:2])
    planes = F.interpolate(planes, size=(height, width), mode="bicubic", antialias=True)
    top, left = (height - size) // 2, (width - size) // 2
    return planes[0, :, top : top + size, left : left + size].numpy()
