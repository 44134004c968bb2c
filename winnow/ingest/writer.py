"""Writes a pool: shards, and the tables beside them. winnow/pool/pool.py lists the files and reads them."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from winnow.ingest.example import Example, Object
from winnow.ingest.shards import Shards
from winnow.ingest.table_parts import PARTS, Parts, ResumeState
from winnow.pipeline.files import write_json
from winnow.pool import masks
from winnow.pool.annotations import ANNOTATIONS
from winnow.pool.images import Measured
from winnow.pool.parts import INDEX
from winnow.pool.pool import MAX_BYTES, MAX_COUNT, SHARD

DROPPED = pa.schema({"key": pa.string(), "reason": pa.string()})
CORRUPTION = pa.schema({"key": pa.string(), "uid": pa.string(), "corruption": pa.string()})
SOURCES = pa.schema(dict.fromkeys(("key", "uid", "source", "source_uid"), pa.string()))
TABLES = {"index": INDEX, "dropped": DROPPED, "corruption": CORRUPTION, "sources": SOURCES}
TABLES |= {"annotations": ANNOTATIONS, "masks": masks.MASKS}


class PoolWriter:
    """Writes a pool into an existing folder; a context manager that completes it unless an error is raised.

    With each full shard, its rows and the caller's `progress` are saved in `parts/`, from where a killed run
    resumes: `state` is what it left (winnow/ingest/table_parts.py). Its complete shards are kept as they are.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str] = (),
        state: ResumeState | None = None,
        mask_classes: Sequence[str] = (),
    ) -> None:
        self.folder = folder = folder.resolve()
        (folder / SHARD).parent.mkdir(exist_ok=True)
        (folder / PARTS).mkdir(exist_ok=True)
        pattern = str(folder).replace("%", "%%") + "/" + SHARD
        self.state = state or ResumeState()
        self.count, complete = self.state.count, self.state.shards
        self.progress: dict[str, Any] = {}
        self.shards = Shards(pattern, MAX_COUNT, MAX_BYTES, complete, self._save)
        tables = TABLES | {"masks": masks.schema(mask_classes)}
        self.tables = [
            Parts(folder / PARTS, name, schema, MAX_COUNT, complete) for name, schema in tables.items()
        ]
        self.index, self.dropped, self.corruption, self.sources, self.annotations, self.masks = self.tables
        write_json(folder / "classes.json", list(classes), sort_keys=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shards.close()
        if kind is None:
            for table in self.tables:
                table.merge(self.folder / f"{table.name}.parquet")
            shutil.rmtree(self.folder / PARTS)

    def add(
        self, example: Example, image: Measured, *, trusted: bool, corruption: str | None, source: str
    ) -> str:
        """Store one image with its label and caption, and return its running key.

        Args:
            source: the source's key of the example, or of the original of a copy.
        """
        key, stored, pixels = f"{self.count:09d}", image.stored, image.statistics
        shard, offsets = self.shards.write(key, _members(key, example, image, source))
        place = (shard, offsets[stored.ext], len(stored.data), stored.ext, stored.width, stored.height)
        label = -1 if example.label is None else example.label
        about = (label, example.caption, example.split, trusted)
        measured = (pixels.mean, pixels.std, pixels.sharpness, pixels.phash, stored.converted)
        self.index.add(key, image.uid, *place, *about, *measured)
        self.sources.add(key, image.uid, source, example.uid)
        if example.objects is not None:
            self.annotations.add(key, image.uid, [_row(thing) for thing in example.objects])
        if example.mask is not None:
            self.masks.add(key, image.uid, offsets[masks.MEMBER], len(example.mask))
        if corruption is not None:
            self.corruption.add(key, image.uid, corruption)
        self.count += 1
        return key

    def drop(self, key: str, reason: str) -> None:
        """Record that the source's example with this key is not in the pool, and why."""
        self.dropped.add(key, reason)

    def _save(self, shard: Path) -> None:
        complete = [shard, *(table.cut() for table in self.tables)]
        sizes = {str(path.relative_to(self.folder)): path.stat().st_size for path in complete}
        self.state = ResumeState(self.state.shards + 1, self.count, self.progress, self.state.sizes | sizes)
        self.state.save(self.folder)


def _row(thing: Object) -> dict[str, Any]:
    """An object as winnow/ingest/objects.py leaves it, by the fields of the table."""
    about = {"label": thing.category, "box": thing.box, "area": thing.area, "crowd": thing.crowd}
    return about | {"mask": thing.segmentation}


def _members(key: str, example: Example, image: Measured, source: str) -> dict[str, bytes]:
    """Extension -> bytes of one sample of a shard."""
    stored = image.stored
    facts: dict[str, Any] = {"key": key, "uid": image.uid, "source": source, "split": example.split}
    facts |= {"width": stored.width, "height": stored.height}
    facts |= {"converted": stored.converted} if stored.converted else {}
    members = {stored.ext: stored.data, "json": json.dumps(facts, sort_keys=True).encode()}
    if example.label is not None:
        members["cls"] = str(example.label).encode()
    if example.mask is not None:
        members[masks.MEMBER] = example.mask
    if example.caption is not None:
        members["txt"] = example.caption.encode("utf-8", "replace")
    return members
