"""A pool: one or several ingested datasets. Each is WebDataset shards, an index over them, and records.

    shards/shards-*.tar   KEY.png|jpg|webp, KEY.cls, KEY.txt, KEY.seg.png, KEY.json; KEY is a running number
                          of nine digits
    index.parquet         a row for each stored image: `INDEX`
    dropped.parquet       (key, reason) of each example that is not in the pool; this key is the source's own
    corruption.parquet    (key, uid, corruption) of corrupted examples only
    sources.parquet       (key, uid, source, source_uid) of each stored image: the source's own key and, where
                          it gives one, uid
    annotations.parquet   (key, uid, objects) of annotated images: winnow/pool/annotations.py
    masks.parquet         (key, uid, offset, size) of semantic masks: winnow/pool/masks.py
    classes.json          the names of the classes, in the order of the labels

A list of uids is a view of the shards by byte offset. The index does not say what is corrupted, and running
keys do not tell a copy from its original: whoever curates or trains reads the index and the images, and
cannot know: dropped.parquet, corruption.parquet and sources.parquet lie in a folder of their own, which only
reports open (a copy has its original's source). Join
them by `key`: an exact duplicate shares its uid with the clean original. A KEY.json holds key, uid, source
(as in sources.parquet), split, width, height, and `converted` where it applies. Shards are plain tar with
mtime 0, so equal input gives equal bytes.
"""

import os
import threading
import weakref
from bisect import bisect
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa

from winnow.config.datasets import Datasets
from winnow.config.schema import POOL, REFERENCE, TASKS
from winnow.pipeline.files import sha256
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids
from winnow.pool.index import Index, Uids, invalid_uids, split_uids
from winnow.pool.parts import Origin, Part, columns, open_dataset, read, with_names

SHARD = "shards/shards-%06d.tar"
MAX_COUNT = 10_000
MAX_BYTES = 1e9
MEND = "make it again with: dvc repro -f ingest@NAME"


class Pool:
    """Ingested datasets opened for reading, as one: the rows of the first, then those of the second, ...

    `classes` are the names of all datasets' classes, those of the first before what others add; labels are
    places in it. `read` may be called from many threads; each shard it read stays open.
    """

    def __init__(self, parts: Sequence[Part], index: Index, classes: list[str]) -> None:
        self.parts = list(parts)
        self.index = index
        self.classes = classes
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._files)

    @classmethod
    def open(cls, folder: Path | str, index_cache: Path | None = None) -> Self:
        """Open one dataset, reading of the index only what locates an image (`Index`).

        Args:
            index_cache: where the index of a large pool is cached; None for nowhere.

        Raises:
            ValueError: if there is no complete dataset.
        """
        folder = Path(folder)
        return cls.join([Origin(folder.name, folder)], index_cache)

    @classmethod
    def join(cls, origins: Sequence[Origin], index_cache: Path | None = None) -> Self:
        """Open several datasets as one pool. Of equal images a trusted dataset's comes first, then the first.

        Raises:
            ValueError: if one of them is not complete.
        """
        opened = [open_dataset(origin.folder, index_cache) for origin in origins]
        classes = list(dict.fromkeys(name for _, names in opened for name in names))
        place = {name: label for label, name in enumerate(classes)}
        parts, start, shard = [], 0, 0
        for origin, (index, names) in zip(origins, opened, strict=True):
            labels = np.array([place[name] for name in names], np.int32)
            records = origin.records or origin.folder
            about = (origin.name, origin.folder, records, origin.trusted)
            parts.append(Part(*about, start, len(index), shard, labels))
            start, shard = start + len(index), shard + (int(index.shard.max()) + 1 if len(index) else 0)
        if len(parts) == 1:
            return cls(parts, opened[0][0], opened[0][1])
        trusted = [part.trusted for part in parts]
        shards, renamed = [part.shard for part in parts], [part.labels for part in parts]
        return cls(parts, Index.join([index for index, _ in opened], shards, renamed, trusted), classes)

    def __len__(self) -> int:
        return len(self.index)

    @property
    def alone(self) -> bool:
        """Whether it is one dataset."""
        return len(self.parts) == 1

    @property
    def folder(self) -> Path:
        """The folder of the dataset, or the one that the folders of all have in common."""
        return Path(os.path.commonpath([part.folder for part in self.parts]))

    @property
    def index_files(self) -> list[Path]:
        """The index.parquet of each dataset."""
        return [part.folder / "index.parquet" for part in self.parts]

    @property
    def origins(self) -> list[Origin]:
        """What `join` opens again."""
        return [Origin(part.name, part.folder, part.records, part.trusted) for part in self.parts]

    @cached_property
    def digests(self) -> dict[str, str]:
        """Dataset -> SHA-256 of its index.parquet."""
        return {part.name: sha256(part.folder / "index.parquet") for part in self.parts}

    @cached_property
    def table(self) -> pa.Table:
        """The whole index, `INDEX` with a column `dataset`, read at the first use and kept in memory;
        training does without it. Where there are several datasets, a key begins with its dataset's name.

        Raises:
            ValueError: if it cannot be read.
        """
        return pa.concat_tables([columns(part, None, self.alone) for part in self.parts])

    def column(self, name: str, rows: np.ndarray) -> pa.Array:
        """One column of the index at these rows (n,), without reading the others.

        Raises:
            ValueError: if it cannot be read.
        """
        whole = pa.concat_tables([columns(part, [name], self.alone) for part in self.parts])
        return whole[name].take(pa.array(rows))

    def records(self, name: str, names: list[str]) -> pa.Table:
        """dropped.parquet, corruption.parquet or sources.parquet of all datasets, without rows where there is
        none; its keys are those of `table`, except for what was dropped.

        Raises:
            ValueError: if one cannot be read.
        """
        found = []
        for part in self.parts:
            if (path := part.records / f"{name}.parquet").is_file():
                table = read(path, names)
                found.append(table if name == "dropped" else with_names(part, table, self.alone))
        return pa.concat_tables(found) if found else pa.table({one: pa.array([], "string") for one in names})

    def part_of(self, rows: np.ndarray) -> np.ndarray:
        """For each row (n,) the number of its dataset in `parts`, (n,)."""
        return np.searchsorted([part.start for part in self.parts], rows, side="right") - 1

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
        return self.read_at(row, int(self.index.offset[row]), int(self.index.size[row]))

    def read_at(self, row: int, offset: int, size: int) -> bytes:
        """Bytes of the shard that holds a row, such as another member of its sample; raises as `read`."""
        shard = int(self.index.shard[row])
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
        part = self.parts[bisect([part.shard for part in self.parts], shard) - 1]
        return part.folder / (SHARD % (shard - part.shard))

    def _file(self, shard: int) -> int:
        with self._lock:
            if shard not in self._files:
                path = self._path(shard)
                try:
                    self._files[shard] = os.open(path, os.O_RDONLY)
                except FileNotFoundError:
                    raise ValueError(f"{path}: no such shard; {MEND}") from None
            return self._files[shard]


def open_pool(workspace: Workspace, datasets: Datasets) -> Pool:
    """The datasets of the pool and, after them, of the reference; the index of a large one is cached.

    Raises:
        ValueError: if one of them is not complete.
    """
    origins = [_origin(workspace, POOL, name) for name in datasets.pool]
    sources = [name for name, one in datasets.reference.items() if one.source]
    origins += [_origin(workspace, REFERENCE, name) for name in sources]
    return Pool.join(origins, workspace.index_cache)


def open_all(workspace: Workspace, datasets: Datasets) -> Pool:
    """The pool, and after it every task set that has a source of its own.

    Raises:
        ValueError: if one of them is not complete.
    """
    sets = [name for name, one in datasets.tasks.items() if one.source]
    origins = open_pool(workspace, datasets).origins + [_origin(workspace, TASKS, name) for name in sets]
    return Pool.join(origins, workspace.index_cache)


def open_set(workspace: Workspace, datasets: Datasets, name: str) -> Pool:
    """The dataset that holds a task set's images, as a pool of its own with its own classes.

    Raises:
        ValueError: if it is not complete.
    """
    held_out_of = datasets.tasks[name].held_out_of
    role, source = (POOL, held_out_of) if held_out_of else (TASKS, name)
    return Pool.join([_origin(workspace, role, source)], workspace.index_cache)


def _origin(workspace: Workspace, role: str, name: str) -> Origin:
    return Origin(name, workspace.dataset(role, name), workspace.provenance(name), role == REFERENCE)


def _close(files: dict[int, int]) -> None:
    for descriptor in files.values():
        os.close(descriptor)
    files.clear()
