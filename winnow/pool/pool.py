"""The pool on disk: WebDataset shards, one index over them, and a list of what was dropped.

    shards/shards-*.tar   KEY.png|jpg|webp, KEY.cls, KEY.txt, KEY.json; KEY is a running number of nine digits
    index.parquet         a row for each stored image: `INDEX`
    dropped.parquet       (key, reason) of each example that is not in the pool; this key is the source's own
    corruption.parquet    (key, uid, corruption) of corrupted examples only
    sources.parquet       (key, uid, source, source_uid) of each stored image: the source's own key and, where
                          it gives one, uid
    classes.json          the names of the classes, in the order of the labels

A list of uids is a view of the shards by byte offset. The index does not say what is corrupted, and running
keys do not tell a copy from its original: whoever curates or trains reads the index and the images, and
cannot know. Only reports open corruption.parquet and sources.parquet (a copy has its original's source). Join
them by `key`: an exact duplicate shares its uid with the clean original. A KEY.json holds key, uid, source
(as in sources.parquet), split, width, height, and `converted` where it applies. Shards are plain tar with
mtime 0, so equal input gives equal bytes.
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

from winnow.pipeline.workspace import Workspace
from winnow.pool import uids
from winnow.pool.images import HASH_BITS
from winnow.pool.index import Index, Uids, invalid_uids, split_uids

SHARD = "shards/shards-%06d.tar"
MAX_COUNT = 10_000
MAX_BYTES = 1e9
MEND = "make it again with: dvc repro -f ingest"

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
    """A pool opened for reading. `read` may be called from many threads; each shard it read stays open."""

    def __init__(self, folder: Path, index: Index, classes: list[str]) -> None:
        self.folder = folder
        self.index = index
        self.classes = classes
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._files)

    @classmethod
    def open(cls, folder: Path | str, index_cache: Path | None = None) -> Self:
        """Open the pool in a folder, reading of the index only what locates an image (`Index`).

        Args:
            index_cache: where the index of a large pool is cached; None for nowhere.

        Raises:
            ValueError: if there is no complete pool.
        """
        folder = Path(folder)
        try:
            index = Index.open(folder / "index.parquet", index_cache)
            classes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise ValueError(_no_pool(folder, error)) from None
        return cls(folder, index, classes)

    def __len__(self) -> int:
        return len(self.index)

    @cached_property
    def table(self) -> pa.Table:
        """The whole index, `INDEX`, read at the first use and kept in memory; training does without it.

        Raises:
            ValueError: if it cannot be read.
        """
        try:
            # pq.read_table imports pandas: 0.6 s a stage
            return pq.ParquetFile(self.folder / "index.parquet").read()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise ValueError(_no_pool(self.folder, error)) from None

    def column(self, name: str, rows: np.ndarray) -> pa.Array:
        """One column of the index at these rows (n,), without reading the others.

        Raises:
            ValueError: if it cannot be read.
        """
        try:
            return pq.ParquetFile(self.folder / "index.parquet").read([name])[name].take(pa.array(rows))
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise ValueError(_no_pool(self.folder, error)) from None

    def sides(self, rows: np.ndarray) -> np.ndarray:
        """The stored height and width in pixels of these rows (n,), int32 (n, 2).

        Raises:
            ValueError: if they cannot be read.
        """
        # Arrow's own `to_numpy` imports pandas: 0.5 s a stage.
        columns = (self.column(name, rows).combine_chunks() for name in ("height", "width"))
        return np.stack([np.from_dlpack(column) for column in columns], axis=1)

    def rows(self, wanted: Sequence[str] | np.ndarray) -> np.ndarray:
        """The rows of the index that hold these uids; of equal images the most trusted one.

        Args:
            wanted: uids of 32 hex digits, or an array of dtype "u8,u8" (`winnow.pool.uids`), which is faster.

        Returns:
            int64 of shape (len(wanted),).

        Raises:
            ValueError: naming a uid that is not in the pool.
        """
        if isinstance(wanted, Uids) and wanted.source is self.index:
            return wanted.rows
        if isinstance(wanted, np.ndarray):
            high, low = wanted["f0"], wanted["f1"]
        else:
            if (invalid := next(invalid_uids(wanted), None)) is not None:
                raise ValueError(self._unknown(invalid))
            high, low = split_uids(wanted)
        rows = self.index.find(high, low)
        if len(rows) and rows.min() < 0:
            at = int(np.argmin(rows))
            raise ValueError(self._unknown(f"{int(high[at]):016x}{int(low[at]):016x}"))
        return rows

    def read(self, row: int) -> bytes:
        """The stored image bytes of a row of the index.

        Raises:
            ValueError: if the shard is missing or shorter than the index says.
        """
        shard, size, offset = (
            int(column[row]) for column in (self.index.shard, self.index.size, self.index.offset)
        )
        data = os.pread(self._file(shard), size, offset) if min(size, offset) >= 0 else b""
        if len(data) != size:
            raise ValueError(f"{self._path(shard)}: ends early, at row {row}; {MEND}")
        return data

    def prefetch(self, rows: np.ndarray) -> None:
        """Ask the operating system to read the images of these rows ahead, while others are being decoded."""
        for row in rows if hasattr(os, "posix_fadvise") else ():  # macOS has none
            with suppress(ValueError):  # `read` raises it again
                file = self._file(int(self.index.shard[row]))
                offset, size = int(self.index.offset[row]), int(self.index.size[row])
                os.posix_fadvise(file, offset, size, os.POSIX_FADV_WILLNEED)

    def verify(self, row: int) -> None:
        """Check that the bytes of a row still hash to its uid.

        Raises:
            ValueError: naming both, if they do not.
        """
        found, uid = uids.of(self.read(row)), self.index.uid(row)
        if found != uid:
            path = self._path(int(self.index.shard[row]))
            raise ValueError(f"{path}: altered: row {row} has uid {found}, the index says {uid}; {MEND}")

    def _unknown(self, uid: str) -> str:
        return f"{self.folder}: uid {uid!r} is not in this pool of {len(self)} images"

    def _path(self, shard: int) -> Path:
        return self.folder / (SHARD % shard)

    def _file(self, shard: int) -> int:
        with self._lock:
            if shard not in self._files:
                path = self._path(shard)
                try:
                    self._files[shard] = os.open(path, os.O_RDONLY)
                except FileNotFoundError:
                    raise ValueError(f"{path}: no such shard; {MEND}") from None
            return self._files[shard]


def open_pool(workspace: Workspace) -> Pool:
    """The pool of a workspace; the index of a large one is cached.

    Raises:
        ValueError: if there is no complete pool.
    """
    return Pool.open(workspace.pool, workspace.index_cache)


def _close(files: dict[int, int]) -> None:
    for descriptor in files.values():
        os.close(descriptor)
    files.clear()


def _no_pool(folder: Path, error: Exception) -> str:
    return f"{folder}: no complete pool here ({str(error).splitlines()[0]}); make it with: dvc repro ingest"
