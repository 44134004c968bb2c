"""The part of a pool's index that training reads, in 44 bytes an image, and uids as a sequence that holds no text.

index.parquet has a row for each image, with texts that nobody needs to find its bytes. Here are the columns that do, as flat arrays.
Reading and sorting them takes some seconds for ten million rows, so a large index is kept once made, in .winnow/index, as an Arrow
file that is mapped into memory: opening it again reads nothing until it is asked. A changed index.parquet is another file.
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

from stages.params import ROOT

FOLDER = ROOT / ".winnow" / "index"
KEPT = 500_000  # rows from which a made index is kept on disk; below, making it takes less than half a second
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
}
SCHEMA = pa.schema({name: pa.from_numpy_dtype(kind) for name, kind in TYPES.items()})
COPIED = ("shard", "offset", "size", "label")


class Index:
    """Columns of n images, each (n,).

    `shard`, `offset`, `size`, `label` and `place` go by row of index.parquet. `high`, `low` (the halves of a uid) and `row` go by
    uid, ascending; `place` of a row is where its uid stands there. Equal uids may have other labels and captions, and come in the order
    in which curation trusts them: of the test split, trusted, the rest, each by row. So the first is the one that it keeps.
    """

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.high, self.low, self.row, self.place = (columns[name] for name in ("high", "low", "row", "place"))
        self.shard, self.offset, self.size, self.label = (columns[name] for name in COPIED)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read index.parquet, or what was kept of it.

        Raises:
            OSError, KeyError, pa.ArrowException, ValueError: where it is missing or no index.
        """
        file = pq.ParquetFile(path)
        if file.metadata.num_rows < KEPT:
            return cls(_made(file))
        kept = _kept_at(path)
        if not kept.is_file():
            _keep(kept, _made(file))
        table = pa.ipc.open_file(pa.memory_map(str(kept))).read_all()
        return cls({name: _flat(table[name].chunk(0)) for name in SCHEMA.names})

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
        """Rows (k,) int64 that hold the uids of these halves (k,) uint64; of equal images the most trusted, -1 where there is none."""
        if not len(self):
            return np.full(len(high), -1)
        starts = range(0, len(high), BATCH)  # parts fit into the processor's cache, and searching leaves Python's lock
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            parts = threads.map(lambda start: self._find(high[start : start + BATCH], low[start : start + BATCH]), starts)
            return np.concatenate([np.zeros(0, np.int64), *parts])

    def _find(self, high: np.ndarray, low: np.ndarray) -> np.ndarray:
        last = len(self) - 1
        place = np.minimum(np.searchsorted(self.high, high), last)
        found = (self.high[place] == high) & (self.low[place] == low)
        # Half a uid is nearly always enough. Where others share it, go on to the right one.
        for left in np.flatnonzero(~found):
            start, stop = (int(np.searchsorted(self.high, high[left], side)) for side in ("left", "right"))  # type: ignore[call-overload]
            place[left] = min(start + int(np.searchsorted(self.low[start:stop], low[left])), last)
            found[left] = self.high[place[left]] == high[left] and self.low[place[left]] == low[left]
        return np.where(found, self.row[place].astype(np.int64), -1)


class Uids(Sequence[str]):
    """The uids of these rows (n,) of an index as a sequence of 32 hex digits each, made when asked for."""

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
        return all(own == its for own, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


def strangers(uids: Sequence[str]) -> Iterator[str]:
    """Those that are not 32 lower-case hex digits, and so nobody's uid."""
    return (uid for uid in uids if len(uid) != 32 or uid.strip("0123456789abcdef"))


def halves(uids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Both halves of uids of 32 hex digits, uint64 (n,) each."""
    return _halves("".join(uids).encode())


def _halves(digits: bytes | memoryview) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.frombuffer(unhexlify(digits), ">u8").reshape(-1, 2).astype(np.uint64)
    return pairs[:, 0], pairs[:, 1]


def _made(file: pq.ParquetFile) -> dict[str, np.ndarray]:
    """The columns from the parquet file, batch by batch: its texts are never all in memory."""
    count = file.metadata.num_rows
    columns: dict[str, np.ndarray] = {name: np.empty(count, kind) for name, kind in TYPES.items()}
    start, rank = 0, np.empty(count, np.uint8)
    for batch in file.iter_batches(BATCH, columns=["uid", "split", "trusted", *COPIED]):
        part = slice(start, start + len(batch))
        digits = batch.column("uid").cast(pa.binary()).cast(pa.binary(32))
        view = memoryview(digits.buffers()[1])[32 * digits.offset : 32 * (digits.offset + len(digits))]
        columns["high"][part], columns["low"][part] = _halves(view)
        for name in COPIED:
            columns[name][part] = _flat(batch.column(name))
        rank[part] = _rank(batch)
        start = part.stop
    _sort(columns, rank)
    return columns


def _rank(batch: pa.RecordBatch) -> np.ndarray:
    """0 for the test split, 1 for what is trusted, 2 for the rest."""
    test, trusted = pc.equal(batch.column("split"), "test"), batch.column("trusted")
    return _flat(pc.if_else(test.fill_null(False), 0, pc.if_else(trusted.fill_null(False), 1, 2)).cast(pa.uint8()))


def _flat(array: pa.Array) -> np.ndarray:
    """Its numbers, not copied; `to_numpy` would import pandas, 0.5 s a stage."""
    if array.null_count:
        raise ValueError("a number is missing from the index")
    return np.from_dlpack(array)


def _sort(columns: dict[str, np.ndarray], rank: np.ndarray) -> None:
    """From uids by row to uids in order, equal ones by `rank`, with `row` and `place`."""
    high, low = columns["high"], columns["low"]
    order = np.argsort(high, kind="stable")
    above, below, trust = high[order], low[order], rank[order]
    later = (below[1:] < below[:-1]) | ((below[1:] == below[:-1]) & (trust[1:] < trust[:-1]))
    if ((above[1:] == above[:-1]) & later).any():
        order = np.lexsort((rank, low, high))  # five times as long, and few pools need it
        above, below = high[order], low[order]
    columns["high"], columns["low"], columns["row"] = above, below, order.astype(np.uint32)
    columns["place"][order] = np.arange(len(order), dtype=np.uint32)


def _kept_at(path: Path) -> Path:
    state = path.stat()
    facts = str(path.resolve()), f"{state.st_size} {state.st_mtime_ns}"
    own, version = (hashlib.sha256(fact.encode("utf-8", "surrogateescape")).hexdigest()[:16] for fact in facts)
    return FOLDER / f"{own}-{version}.arrow"


def _keep(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write it under another name first, and take away what was kept of an earlier state of the same file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for earlier in path.parent.glob(f"{path.name.split('-')[0]}-*"):
        earlier.unlink(missing_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    table = pa.table([pa.array(columns[name]) for name in SCHEMA.names], SCHEMA)
    with pa.ipc.new_file(partial, SCHEMA) as writer:
        writer.write_table(table)
    os.replace(partial, path)
