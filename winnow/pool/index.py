"""The part of a pool's index that training reads, in 45 bytes an image, and uids as a sequence without text.

index.parquet has a row for each image, with texts that locating its bytes does not need. Here are the columns
that it does need, as flat arrays. Reading and sorting them takes seconds for ten million rows, so a large
index is cached once made, as an Arrow file that is mapped into memory: opening it again reads nothing until
it is used. The cache is keyed by the path, size and time of index.parquet.
"""

import hashlib
import os
from binascii import unhexlify
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.pipeline.files import replacing

CACHED_ROWS = 500_000  # an index of fewer rows is made in less than half a second
BATCH = 100_000
TYPES = {
    "high": np.uint64,
    "low": np.uint64,
    "row": np.uint32,
    "place": np.uint32,
    "shard": np.int32,
    "offset": np.int64,
    "size": np.int32,
    "label": np.int32,
    "rank": np.uint8,
}
SCHEMA = pa.schema({name: pa.from_numpy_dtype(kind) for name, kind in TYPES.items()})
READ = ("shard", "offset", "size", "label")
COPIED = (*READ, "rank")
RANKS = 3  # of a row within its index: the test split, trusted, the rest


class Index:
    """Columns of n images, each (n,).

    `shard`, `offset`, `size`, `label`, `rank` and `place` are in the order of index.parquet. `high`, `low`
    (the halves of a uid) and `row` are in ascending order of uids; `place[row]` is the position of the row's
    uid there. Equal uids may have different labels and captions; they are ordered as curation trusts them:
    the test split, trusted, the rest (`rank`), each by row. So the first is the one that curation keeps.
    """

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.high, self.low = columns["high"], columns["low"]
        self.row, self.place = columns["row"], columns["place"]
        self.shard, self.offset, self.size, self.label, self.rank = (columns[name] for name in COPIED)

    @classmethod
    def open(cls, path: Path, cache: Path | None = None) -> Self:
        """Read index.parquet, or its cached columns.

        Args:
            cache: the folder of cached indexes; None to cache nothing.

        Raises:
            OSError, KeyError, pa.ArrowException, ValueError: if it is missing or no index.
        """
        file = pq.ParquetFile(path)
        if cache is None or file.metadata.num_rows < CACHED_ROWS:
            return cls(_columns(file))
        cached = _cached_at(path, cache)
        if not cached.is_file():
            _write_cache(cached, _columns(file))
        table = pa.ipc.open_file(pa.memory_map(str(cached))).read_all()
        return cls({name: _flat(table[name].chunk(0)) for name in SCHEMA.names})

    @classmethod
    def join(
        cls,
        indexes: Sequence[Self],
        shards: Sequence[int],
        labels: Sequence[np.ndarray],
        trusted: Sequence[bool],
    ) -> Self:
        """One index over the rows of several, in their order; of equal uids a trusted index's come first.

        Args:
            shards: added to the shard numbers of each index.
            labels: for each index a new label for each of its labels, (classes,).
        """
        rows = {
            "high": [one.high[one.place] for one in indexes],
            "low": [one.low[one.place] for one in indexes],
        }
        rows |= {name: [getattr(one, name) for one in indexes] for name in COPIED}
        rows["shard"] = [one.shard + np.int32(shard) for one, shard in zip(indexes, shards, strict=True)]
        rows["label"] = [
            np.append(new, -1).astype(np.int32)[one.label] for one, new in zip(indexes, labels, strict=True)
        ]
        rows["rank"] = [
            one.rank + np.uint8(0 if first else RANKS) for one, first in zip(indexes, trusted, strict=True)
        ]
        columns = {name: np.concatenate(parts) for name, parts in rows.items()}
        columns["place"] = np.empty(len(columns["high"]), np.uint32)
        _sort(columns, columns["rank"])
        return cls(columns)

    def __len__(self) -> int:
        return len(self.row)

    @property
    def nbytes(self) -> int:
        """Bytes of all columns, mapped or not."""
        return sum(column.nbytes for column in vars(self).values())

    def uid(self, row: int) -> str:
        """The uid of a row, 32 hex digits."""
        place = self.place[row]
        return f"{self.high[place]:016x}{self.low[place]:016x}"

    def find(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Rows (k,) int64 of the uids with these halves (k,) uint64; of equal images the most trusted one.

        The row of a uid that is not there is -1.
        """
        if not len(self):
            return np.full(len(high), -1)

        def part(start: int) -> np.ndarray:
            return self._find(high[start : start + BATCH], low[start : start + BATCH])

        # Parts fit into the processor's cache, and searching releases Python's lock.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            parts = threads.map(part, range(0, len(high), BATCH))
            return np.concatenate([np.zeros(0, np.int64), *parts])

    def _find(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        last = len(self) - 1
        place = np.minimum(np.searchsorted(self.high, high), last)
        found = (self.high[place] == high) & (self.low[place] == low)
        # The high half is nearly always unique; where uids share it, the low half decides.
        for left in np.flatnonzero(~found):
            start, stop = (int(np.searchsorted(self.high, high[left], side)) for side in ("left", "right"))
            place[left] = min(start + int(np.searchsorted(self.low[start:stop], low[left])), last)
            found[left] = self.high[place[left]] == high[left] and self.low[place[left]] == low[left]
        return np.where(found, self.row[place].astype(np.int64), -1)


class Uids(Sequence[str]):
    """The uids at these rows (n,) of an index as a sequence of 32 hex digits, each made when it is read."""

    def __init__(self, source: Index, rows: np.ndarray) -> None:
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> str: ...
    @overload
    def __getitem__(self, at: slice) -> "Uids": ...
    def __getitem__(self, at: int | slice) -> "str | Uids":
        return Uids(self.source, self.rows[at]) if isinstance(at, slice) else self.source.uid(self.rows[at])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def invalid_uids(uids: Sequence[str]) -> Iterator[str]:
    """Those that are not 32 lower-case hex digits, and so the uid of no image."""
    return (uid for uid in uids if len(uid) != 32 or uid.strip("0123456789abcdef"))


def split_uids(uids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The halves of uids of 32 hex digits, uint64 (n,) each."""
    return _split("".join(uids).encode())


def _split(digits: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.frombuffer(unhexlify(digits), ">u8").reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]


def _columns(file: pq.ParquetFile) -> dict[str, np.ndarray]:
    """The columns, from the parquet file batch by batch: its texts are never all in memory."""
    count = file.metadata.num_rows
    columns: dict[str, np.ndarray] = {name: np.empty(count, kind) for name, kind in TYPES.items()}
    start = 0
    for batch in file.iter_batches(BATCH, columns=["uid", "split", "trusted", *READ]):
        part = slice(start, start + len(batch))
        digits = batch.column("uid").cast(pa.binary()).cast(pa.binary(32))
        view = memoryview(digits.buffers()[1])[32 * digits.offset : 32 * (digits.offset + len(digits))]
        columns["high"][part], columns["low"][part] = _split(view)
        for name in READ:
            columns[name][part] = _flat(batch.column(name))
        columns["rank"][part] = _rank(batch)
        start = part.stop
    _sort(columns, columns["rank"])
    return columns


def _rank(batch: pa.RecordBatch) -> np.ndarray:
    """0 for the test split, 1 for what is trusted, 2 for the rest."""
    test, trusted = pc.equal(batch.column("split"), "test"), batch.column("trusted")
    rank = pc.if_else(test.fill_null(False), 0, pc.if_else(trusted.fill_null(False), 1, 2))
    return _flat(rank.cast(pa.uint8()))


def _flat(array: pa.Array) -> np.ndarray:
    """Its numbers, not copied; `to_numpy` would import pandas, 0.5 s a stage."""
    if array.null_count:
        raise ValueError("a number is missing from the index")
    return np.from_dlpack(array)


def _sort(columns: dict[str, np.ndarray], rank: np.ndarray) -> None:
    """Sort `high` and `low`, which are by row, by uid, equal ones by `rank`; set `row` and `place`."""
    high, low = columns["high"], columns["low"]
    order = np.argsort(high, kind="stable")
    above, below, trust = high[order], low[order], rank[order]
    later = (below[1:] < below[:-1]) | ((below[1:] == below[:-1]) & (trust[1:] < trust[:-1]))
    if ((above[1:] == above[:-1]) & later).any():
        order = np.lexsort((rank, low, high))  # takes five times as long, and few pools need it
        above, below = high[order], low[order]
    columns["high"], columns["low"], columns["row"] = above, below, order.astype(np.uint32)
    columns["place"][order] = np.arange(len(order), dtype=np.uint32)


def _cached_at(path: Path, cache: Path) -> Path:
    state = path.stat()
    facts = str(path.resolve()), f"{state.st_size} {state.st_mtime_ns}"
    name, version = (
        hashlib.sha256(fact.encode("utf-8", "surrogateescape")).hexdigest()[:16] for fact in facts
    )
    return cache / f"{name}-{version}.arrow"


def _write_cache(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write it, and delete what was cached of earlier states of the same index.parquet."""
    table = pa.table([pa.array(columns[name]) for name in SCHEMA.names], SCHEMA)
    with replacing(path) as partial, pa.ipc.new_file(partial, SCHEMA) as writer:
        writer.write_table(table)
    for earlier in path.parent.glob(f"{path.name.split('-')[0]}-*.arrow"):
        if earlier != path:
            earlier.unlink(missing_ok=True)
