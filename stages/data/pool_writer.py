"""Writes a pool: shards, and the tables beside them. stages/data/pool.py lists the files and reads them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from stages.data.images import Measured
from stages.data.parts import PARTS, Begun, Parts
from stages.data.pool import INDEX, MAX_BYTES, MAX_COUNT, SHARD
from stages.data.shards import Shards
from stages.sources import Example

DROPPED = pa.schema({"key": pa.string(), "reason": pa.string()})
DIRT = pa.schema({"key": pa.string(), "uid": pa.string(), "dirt": pa.string()})
SOURCES = pa.schema({"key": pa.string(), "uid": pa.string(), "source": pa.string(), "source_uid": pa.string()})
TABLES = {"index": INDEX, "dropped": DROPPED, "dirt": DIRT, "sources": SOURCES}


class PoolWriter:
    """Writes a pool into an existing folder; a context manager: the pool is whole when it leaves without an error.

    With each shard that is closed its rows and the caller's `reached` are kept in `parts/`, so that a run that was killed can go
    on: `begun` (stages/data/parts.py) gives what it left. Whole shards are kept as they are, and the rest is written anew.
    """

    def __init__(self, folder: Path, classes: Sequence[str] = (), begun: Begun | None = None) -> None:
        self.folder = folder = folder.resolve()
        (folder / SHARD).parent.mkdir(exist_ok=True)
        (folder / PARTS).mkdir(exist_ok=True)
        pattern = str(folder).replace("%", "%%") + "/" + SHARD
        self.begun = begun or Begun()
        self.count, known = self.begun.count, self.begun.shards
        self.reached: dict[str, Any] = {}
        self.shards = Shards(pattern, MAX_COUNT, MAX_BYTES, known, self._keep)
        self.index, self.dropped, self.dirt, self.sources = self.tables = [
            Parts(folder / PARTS, name, schema, MAX_COUNT, known) for name, schema in TABLES.items()
        ]
        text = json.dumps(list(classes), indent=2, ensure_ascii=False)
        (folder / "classes.json").write_text(text + "\n", encoding="utf-8")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shards.close()
        if kind is None:
            for table in self.tables:
                table.merge(self.folder / f"{table.name}.parquet")
            shutil.rmtree(self.folder / PARTS)

    def _keep(self, shard: Path) -> None:
        made = [shard, *(table.cut() for table in self.tables)]
        sizes = {str(path.relative_to(self.folder)): path.stat().st_size for path in made}
        self.begun = Begun(self.begun.shards + 1, self.count, self.reached, self.begun.sizes | sizes)
        self.begun.save(self.folder / PARTS)

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
        shard, offsets = self.shards.write(key, members)
        seen = image.statistics
        self.index.add(
            key, image.uid, shard, offsets[stored.ext], len(stored.data), stored.ext, stored.width, stored.height,
            -1 if example.label is None else example.label, example.caption, example.split, trusted,
            seen.mean, seen.std, seen.sharpness, seen.phash, stored.converted,
        )  # fmt: skip
        self.sources.add(key, image.uid, source, example.uid)
        if dirt is not None:
            self.dirt.add(key, image.uid, dirt)
        self.count += 1
        return key

    def drop(self, key: str, reason: str) -> None:
        """Record that the example with this key of the source is not in the pool, and why."""
        self.dropped.add(key, reason)
