"""The pool on disk: WebDataset shards, one index over them, and what was left out.

    shards/shards-*.tar     KEY.png|jpg|webp, KEY.cls, KEY.txt, KEY.json; KEY is a running number of nine digits
    index.parquet           a row for each stored image: `INDEX`; a list of uids is a view of the shards by byte offset
    dropped.parquet         (key, reason) of each example that is not in the pool; this key is the source's own
    dirt.parquet            (key, uid, dirt) of polluted examples only
    sources.parquet         (key, uid, source, source_uid) of each stored image: the source's own key and, where it gives one, uid
    classes.json            the names of the classes, in the order of the labels

The index does not say what is polluted, and running keys do not tell a copy from its original: whoever curates or
trains reads the index and the images and cannot know. Only reports open dirt.parquet and sources.parquet (a copy has its
original's source). Join them by `key`: an exact duplicate shares its uid with the clean original. A KEY.json holds key, uid,
source (the source's own key; a copy has its original's), split, width, height, and `converted` where it applies. Shards are
plain tar with mtime 0, so equal input gives equal bytes.
"""

import json
import os
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.data import uids
from stages.data.images import HASH_BITS
from stages.data.index import Index, Uids, halves, strangers

SHARD = "shards/shards-%06d.tar"
MAX_COUNT = 10_000
MAX_BYTES = 1e9

INDEX = pa.schema(
    {
        "key": pa.string(),
        "uid": pa.string(),
        "shard": pa.int32(),
        "offset": pa.int64(),
        "size": pa.int32(),
        "ext": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "label": pa.int32(),
        "caption": pa.string(),
        "split": pa.string(),
        "trusted": pa.bool_(),
        "mean": pa.float32(),
        "std": pa.float32(),
        "sharpness": pa.float32(),
        "phash": pa.binary(HASH_BITS // 8),
        "converted": pa.string(),
    }
)


class Pool:
    """A pool opened for reading. `read` may be called from many threads; one file stays open for each shard it met."""

    def __init__(self, folder: Path, index: Index, classes: list[str]) -> None:
        self.folder = folder
        self.index = index
        self.classes = classes
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._files)

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open the pool in a folder. Of the index only what finds an image is read (`Index`), not the whole `table`.

        Raises:
            ValueError: when there is none.
        """
        folder = Path(folder)
        try:
            index = Index.open(folder / "index.parquet")
            classes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise ValueError(_no_pool(folder, error)) from None
        return cls(folder, index, classes)

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def table(self) -> pa.Table:
        """The whole index, `INDEX`, in memory from the first time it is asked for; training does without.

        Raises:
            ValueError: when it cannot be read.
        """
        try:
            return pq.ParquetFile(self.folder / "index.parquet").read()  # read_table imports pandas: 0.6 s a stage
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ValueError(_no_pool(self.folder, error)) from None

    def column(self, name: str, rows: np.ndarray) -> pa.Array:
        """One column of the index at these rows (n,), without reading the others.

        Raises:
            ValueError: when it cannot be read.
        """
        try:
            return pq.ParquetFile(self.folder / "index.parquet").read([name])[name].take(pa.array(rows))
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise ValueError(_no_pool(self.folder, error)) from None

    def rows(self, wanted: Sequence[str] | np.ndarray) -> np.ndarray:
        """The rows of the index, int64 of shape (len(wanted),), that hold these uids; of equal images the most trusted.

        Args:
            wanted: uids of 32 hex digits, or as an array of dtype "u8,u8" (`stages.data.uids`), which needs no text at all.

        Raises:
            ValueError: naming a uid that the pool has not.
        """
        if isinstance(wanted, Uids) and wanted.source is self.index:
            return wanted.rows
        if isinstance(wanted, np.ndarray):
            high, low = wanted["f0"], wanted["f1"]
        else:
            if (strange := next(strangers(wanted), None)) is not None:
                raise ValueError(self._unknown(strange))
            high, low = halves(wanted)
        rows = self.index.find(high, low)
        if len(rows) and rows.min() < 0:
            at = int(np.argmin(rows))
            raise ValueError(self._unknown(f"{int(high[at]):016x}{int(low[at]):016x}"))
        return rows

    def read(self, row: int) -> bytes:
        """The stored image bytes of a row of the index.

        Raises:
            ValueError: when the shard is missing or shorter than the index says.
        """
        shard, size, offset = (int(column[row]) for column in (self.index.shard, self.index.size, self.index.offset))
        data = os.pread(self._file(shard), size, offset) if min(size, offset) >= 0 else b""
        if len(data) != size:
            raise ValueError(f"{self.folder / (SHARD % shard)}: ends early, at row {row}; make it again with: dvc repro -f ingest")
        return data

    def soon(self, rows: np.ndarray) -> None:
        """Tell the system that the images of these rows will be read, so that a slow disk works while others are decoded."""
        for row in rows if hasattr(os, "posix_fadvise") else ():  # macOS has none
            with suppress(ValueError):  # told when it is read
                file = self._file(int(self.index.shard[row]))
                os.posix_fadvise(file, int(self.index.offset[row]), int(self.index.size[row]), os.POSIX_FADV_WILLNEED)

    def verify(self, row: int) -> None:
        """Check that the bytes of a row still hash to its uid.

        Raises:
            ValueError: naming both, when they do not.
        """
        found, uid = uids.of(self.read(row)), self.index.uid(row)
        if found != uid:
            shard = self.folder / (SHARD % int(self.index.shard[row]))
            raise ValueError(f"{shard}: altered: row {row} has uid {found}, the index says {uid}; run: dvc repro -f ingest")

    def _unknown(self, uid: str) -> str:
        return f"{self.folder}: uid {uid!r} is not in this pool of {len(self)} images"

    def _file(self, shard: int) -> int:
        with self._lock:
            if shard not in self._files:
                path = self.folder / (SHARD % shard)
                try:
                    self._files[shard] = os.open(path, os.O_RDONLY)
                except FileNotFoundError:
                    raise ValueError(f"{path}: no such shard; make it again with: dvc repro -f ingest") from None
            return self._files[shard]


def _close(files: dict[int, int]) -> None:
    for descriptor in files.values():
        os.close(descriptor)
    files.clear()


def _no_pool(folder: Path, error: Exception) -> str:
    return f"{folder}: no whole pool here ({str(error).splitlines()[0]}); make it with: dvc repro ingest"
