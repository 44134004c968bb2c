"""The tables of a pool that is being written: parts that survive a kill, merged into parquet at the end.

A part holds the rows of one shard, as an Arrow stream. The bytes of the parquet file do not depend on how the
rows were divided into parts.
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.pipeline.files import read_json, write_json

PARTS = "parts"  # their folder, beside the shards; deleted when the pool is complete
STATE = "resume.json"


class Parts:
    """A table that is written row by row, with at most `group` rows in memory.

    `group` rows are a row group of the parquet file. `folder` already holds `count` parts if an interrupted
    run is resumed.
    """

    def __init__(self, folder: Path, name: str, schema: pa.Schema, group: int, count: int = 0) -> None:
        self.folder, self.name, self.schema, self.group = folder, name, schema, group
        self.count = count
        self._rows: list[tuple[Any, ...]] = []
        self._stream: pa.RecordBatchStreamWriter | None = None

    def add(self, *values: Any) -> None:
        """Append one row, its values in the order of the schema."""
        self._rows.append(values)
        if len(self._rows) == self.group:
            self._spill()

    def cut(self) -> Path:
        """End the part and return its file, which is complete."""
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
            columns = zip(zip(*self._rows, strict=True), self.schema, strict=True)
            arrays = [pa.array(column, field.type) for column, field in columns]
            self._stream.write_table(pa.table(arrays, self.schema))
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
class ResumeState:
    """What an interrupted run left of a pool: complete shards, each with its part of every table.

    `count` images are stored in them; `progress` is what the writer's caller needs to resume; `sizes` holds
    the files' bytes.
    """

    shards: int = 0
    count: int = 0
    progress: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write it beside the parts of the pool in a folder."""
        write_json(folder / PARTS / STATE, dataclasses.asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The state of the pool in a folder; None if there is none, or if a file of it is not complete."""
        try:
            state = cls(**read_json(folder / PARTS / STATE))
            complete = all((folder / name).stat().st_size == size for name, size in state.sizes.items())
        except (OSError, ValueError, TypeError):
            return None
        return state if complete else None
