"""A pool that is still being made: the rows of its tables in parts that outlive a kill, and one parquet file of each at the end.

A part holds the rows of one shard, as an Arrow stream. However the rows are parted, the parquet file has the same bytes.
"""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

PARTS = "parts"  # the folder of them, beside the shards; gone when the pool is whole


class Parts:
    """A table written a row at a time, at most `group` rows in memory; `group` rows are a row group of the parquet file.

    `count` parts stand already in `folder`, from a run that was stopped.
    """

    def __init__(self, folder: Path, name: str, schema: pa.Schema, group: int, count: int = 0) -> None:
        self.folder, self.name, self.schema, self.group = folder, name, schema, group
        self.count = count
        self._rows: list[tuple[Any, ...]] = []
        self._stream: pa.RecordBatchStreamWriter | None = None

    def add(self, *values: Any) -> None:
        """One row, its values in the order of the schema."""
        self._rows.append(values)
        if len(self._rows) == self.group:
            self._spill()

    def cut(self) -> Path:
        """End the part: its file is whole when this returns."""
        path = self._path(self.count)
        self._spill()
        assert self._stream is not None
        self._stream.close()
        self._stream = None
        self.count += 1
        return path

    def merge(self, path: Path) -> None:
        """Write all rows as parquet."""
        self.cut()
        with pq.ParquetWriter(path, self.schema) as writer:
            for table in self._groups():
                writer.write_table(table)

    def _spill(self) -> None:
        if self._stream is None:
            self._stream = pa.ipc.new_stream(str(self._path(self.count)), self.schema)
        if self._rows:
            columns = [pa.array(column, field.type) for column, field in zip(zip(*self._rows, strict=True), self.schema, strict=True)]
            self._stream.write_table(pa.table(columns, self.schema))
            self._rows = []

    def _groups(self) -> Iterator[pa.Table]:
        """Tables of `group` rows, the last one shorter."""
        waiting = self.schema.empty_table()
        for number in range(self.count):
            with pa.ipc.open_stream(str(self._path(number))) as stream:
                for batch in stream:
                    waiting = pa.concat_tables([waiting, pa.Table.from_batches([batch])])
                    while len(waiting) >= self.group:
                        yield waiting[: self.group].combine_chunks()
                        waiting = waiting[self.group :]
        if len(waiting):
            yield waiting.combine_chunks()

    def _path(self, number: int) -> Path:
        return self.folder / f"{self.name}-{number:06d}.arrows"


@dataclass(frozen=True)
class Begun:
    """What a run that was stopped left of a pool: whole shards, each with its part of every table.

    `count` images are stored in them; `reached` is what the writer's caller must know to go on; `sizes` holds the files' bytes.
    """

    shards: int = 0
    count: int = 0
    reached: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it, in one step."""
        partial = folder / "begun.partial"
        partial.write_text(json.dumps(dataclasses.asdict(self), sort_keys=True), encoding="utf-8")
        partial.replace(folder / "begun.json")

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """What was left of the pool in a folder; None where that is nothing, or not whole."""
        try:
            begun = cls(**json.loads((folder / PARTS / "begun.json").read_text(encoding="utf-8")))
            whole = all((folder / name).stat().st_size == size for name, size in begun.sizes.items())
        except (OSError, ValueError, TypeError):
            return None
        return begun if whole else None
