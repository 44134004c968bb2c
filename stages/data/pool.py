"""The pool on disk: WebDataset shards, one index over them, and what was left out.

    shards/shards-*.tar     KEY.png|jpg|webp, KEY.cls, KEY.txt, KEY.json; KEY is a running number of nine digits
    index.parquet           a row for each stored image: `INDEX`; a list of uids is a view of the shards by byte offset
    dropped.parquet         (key, reason) of each example that is not in the pool; this key is the source's own
    dirt.parquet            (key, uid, dirt) of polluted examples only
    classes.json            the names of the classes, in the order of the labels

Neither the index nor the shards say what is polluted, and running keys do not tell a copy from its original: whoever
curates or trains reads those two and cannot know. Only reports open dirt.parquet. Join it by `key`: an exact
duplicate shares its uid with the clean original. A KEY.json holds key, uid, source (the source's own key; a copy has
its original's), split, width, height, and `converted` where it applies. Shards are plain tar with mtime 0, so equal
input gives equal bytes.
"""

import json
import os
import threading
import weakref
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.data import uids
from stages.data.images import HASH_BITS, Measured
from stages.sources import Example

SHARD = "shards/shards-%06d.tar"
MAX_COUNT = 10_000
MAX_BYTES = 1e9
BLOCK = 512

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
DROPPED = pa.schema({"key": pa.string(), "reason": pa.string()})
DIRT = pa.schema({"key": pa.string(), "uid": pa.string(), "dirt": pa.string()})


class _Table:
    """A parquet file written a row at a time, one row group for `MAX_COUNT` rows."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.rows: list[tuple[Any, ...]] = []
        self.writer = pq.ParquetWriter(path, schema)

    def add(self, *values: Any) -> None:
        self.rows.append(values)
        if len(self.rows) == MAX_COUNT:
            self.flush()

    def flush(self) -> None:
        columns = [pa.array(column, field.type) for column, field in zip(zip(*self.rows, strict=True), self.schema, strict=True)]
        self.writer.write_table(pa.table(columns, self.schema))
        self.rows = []

    def close(self) -> None:
        if self.rows:
            self.flush()
        self.writer.close()


class PoolWriter:
    """Writes a pool into an existing folder; a context manager: the pool is whole when it leaves without an error."""

    def __init__(self, folder: Path, classes: Sequence[str] = ()) -> None:
        from webdataset.writer import ShardWriter  # here, because it imports torch: 2 s that readers need not wait

        (folder / SHARD).parent.mkdir(exist_ok=True)
        pattern = str(folder.resolve()).replace("%", "%%") + "/" + SHARD
        self.shards = ShardWriter(pattern, MAX_COUNT, MAX_BYTES, verbose=0, mtime=0, encoder=False)
        self.index = _Table(folder / "index.parquet", INDEX)
        self.dropped = _Table(folder / "dropped.parquet", DROPPED)
        self.dirt = _Table(folder / "dirt.parquet", DIRT)
        self.folder = folder
        self.count = 0
        text = json.dumps(list(classes), indent=2, ensure_ascii=False)
        (folder / "classes.json").write_text(text + "\n", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for part in (self.shards, self.index, self.dropped, self.dirt):
            part.close()
        if kind is not None:
            (self.folder / "index.parquet").unlink()  # half a pool does not open

    def add(self, example: Example, image: Measured, *, trusted: bool, dirt: str | None, source: str) -> str:
        """Store one image with its label and caption; `source` is the source's key of it. Returns the running key."""
        key, stored = f"{self.count:09d}", image.stored
        facts: dict[str, Any] = {"key": key, "uid": image.uid, "source": source, "split": example.split}
        facts |= {"width": stored.width, "height": stored.height}
        facts |= {"converted": stored.converted} if stored.converted else {}
        members = {stored.ext: stored.data, "json": json.dumps(facts, sort_keys=True).encode()}
        if example.label is not None:
            members["cls"] = str(example.label).encode()
        if example.caption is not None:
            members["txt"] = example.caption.encode("utf-8", "replace")
        shard, offset = self._write(key, members, stored.ext)
        seen = image.statistics
        self.index.add(
            key, image.uid, shard, offset, len(stored.data), stored.ext, stored.width, stored.height,
            -1 if example.label is None else example.label, example.caption, example.split, trusted,
            seen.mean, seen.std, seen.sharpness, seen.phash, stored.converted,
        )  # fmt: skip
        if dirt is not None:
            self.dirt.add(key, image.uid, dirt)
        self.count += 1
        return key

    def drop(self, key: str, reason: str) -> None:
        """Record that the example with this key of the source is not in the pool, and why."""
        self.dropped.add(key, reason)

    def _write(self, key: str, members: dict[str, bytes], ext: str) -> tuple[int, int]:
        """The shard, and where in it the image begins: members lie sorted, each a header block and its data blocks."""
        self.shards.write({"__key__": key, **members})
        end = self.shards.tarstream.tarstream.offset
        after = sum(BLOCK + -(-len(data) // BLOCK) * BLOCK for name, data in members.items() if name >= ext)
        return self.shards.shard - 1, end - after + BLOCK


class Pool:
    """A pool opened for reading. `read` may be called from many threads; one file stays open for each shard it met."""

    def __init__(self, folder: Path, table: pa.Table, classes: list[str]) -> None:
        self.folder = folder
        self.table = table
        self.classes = classes
        self._shard, self._offset, self._size = (table[name].to_numpy() for name in ("shard", "offset", "size"))
        self._files: dict[int, int] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._files)

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open the pool in a folder.

        Raises:
            ValueError: when there is none.
        """
        folder = Path(folder)
        try:
            table = pq.ParquetFile(folder / "index.parquet").read()  # read_table imports pandas: 0.6 s a stage
            classes = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, pa.ArrowInvalid, json.JSONDecodeError) as error:
            line = str(error).splitlines()[0]
            raise ValueError(f"{folder}: no whole pool here ({line}); make it with: dvc repro ingest") from None
        return cls(folder, table, classes)

    def __len__(self) -> int:
        return self.table.num_rows

    def rows(self, wanted: Sequence[str]) -> np.ndarray:
        """The rows of the index, int64 of shape (len(wanted),), that hold these uids; of equal images the first.

        Raises:
            ValueError: naming a uid that the pool has not.
        """
        names, first = self._first
        query = np.array(wanted, dtype="S33")  # one more, so that a longer name is not cut to a known one
        place = np.minimum(np.searchsorted(names, query), max(len(names) - 1, 0))
        unknown = names[place] != query if len(names) else np.ones(len(query), bool)
        if unknown.any():
            uid = wanted[int(np.argmax(unknown))]
            raise ValueError(f"{self.folder}: uid {uid!r} is not in this pool of {len(self)} images")
        return first[place].astype(np.int64)

    def read(self, row: int) -> bytes:
        """The stored image bytes of a row of the index.

        Raises:
            ValueError: when the shard is missing or shorter than the index says.
        """
        shard, size = int(self._shard[row]), int(self._size[row])
        data = os.pread(self._file(shard), size, int(self._offset[row]))
        if len(data) != size:
            raise ValueError(f"{self.folder / (SHARD % shard)}: ends early, at row {row}; make it again with: dvc repro -f ingest")
        return data

    def verify(self, row: int) -> None:
        """Check that the bytes of a row still hash to its uid.

        Raises:
            ValueError: naming both, when they do not.
        """
        found, uid = uids.of(self.read(row)), self.table["uid"][row].as_py()
        if found != uid:
            shard = self.folder / (SHARD % int(self._shard[row]))
            raise ValueError(f"{shard}: altered: row {row} has uid {found}, the index says {uid}; run: dvc repro -f ingest")

    @cached_property
    def _first(self) -> tuple[np.ndarray, np.ndarray]:
        names = np.array(self.table["uid"].to_pylist(), dtype="S32")
        return np.unique(names, return_index=True)

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
