"""`winnow lint` on a pool: its index against its tars.

The index is read in batches and the shards by their headers, with one shard's names in memory. Reasons:

    missing_shard, damaged_shard  rows whose tar is not there, or cannot be read to its end
    no_bytes                      a row without an image of its name, offset and size in the tar
    altered                       bytes of another uid: some rows of each shard, with `full` all
    no_row                        an image in a tar that the index does not name
    wrong_uid                     a uid that is not 32 hex digits
    wrong_label                   a label without a class
    wrong_key                     a key out of order
    wrong_index, wrong_classes    a file that cannot be read or lacks a column
    uid_conflict                  a source's uid that stands for two different images
    sources_differ                rows of sources.parquet that are not the index's
"""

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.lint.report import Once, Report
from winnow.pool import uids
from winnow.pool.index import invalid_uids
from winnow.pool.parts import INDEX
from winnow.pool.pool import SHARD
from winnow.sources.formats import tar
from winnow.sources.formats.samples import IMAGES

ROWS = 10_000
SOME = 8  # images of a shard that are hashed without `full`
COLUMNS = ["key", "uid", "shard", "offset", "size", "ext", "label"]
Row = dict[str, Any]


def check_pool(folder: Path, full: bool) -> Report:
    """Check a pool; without `full` the bytes of `SOME` images of each shard are hashed."""
    how = "" if full else f", {SOME} images of each shard hashed; --full hashes all"
    report = Report(f"{folder}: a pool{how}")
    classes = _classes(folder, report)
    named: set[str] = set()
    last = ""
    try:
        for number, rows in groupby(_rows(folder / "index.parquet"), key=lambda row: row["shard"]):
            group, path = list(rows), folder / (SHARD % number)
            last = _check_rows(group, last, classes, report)
            _check_shard(path, group, report, full)
            named.add(path.name)
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        report.add_file("wrong_index", "index.parquet", error)
        return report
    for path in sorted(folder.glob("shards/*.tar")):
        if path.name not in named:
            report.add("no_row", path.name)
    _check_sources(folder, report)
    return report


def _classes(folder: Path, report: Report) -> int:
    """How many there are; any label fits where the file is wrong."""
    try:
        names = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return len(names)
    except (OSError, ValueError, RecursionError):
        pass
    report.add("wrong_classes", "classes.json")
    return 1 << 31


def _rows(path: Path) -> Iterator[Row]:
    file = pq.ParquetFile(path)
    if missing := set(INDEX.names) - set(file.schema_arrow.names):
        raise KeyError(f"no column {', '.join(sorted(missing))}")
    for batch in file.iter_batches(ROWS, columns=COLUMNS, use_threads=False):
        yield from batch.to_pylist()


def _check_rows(rows: list[Row], last: str, classes: int, report: Report) -> str:
    """The last key of the rows, which must follow `last`."""
    for row in rows:
        key = str(row["key"])
        if any(invalid_uids([str(row["uid"])])):
            report.add("wrong_uid", key)
        if row["label"] is None or not -1 <= row["label"] < classes:
            report.add("wrong_label", key)
        if key <= last:
            report.add("wrong_key", key)
        last = key
    return last


def _check_shard(path: Path, rows: list[Row], report: Report, full: bool) -> None:
    """Each row against the tar's own headers: an image of its name and size must begin at its offset."""
    if not path.is_file():
        report.add("missing_shard", path.name, len(rows))
        return
    with open(path, "rb") as file:
        images = _images(file, path, report)
        for number, row in enumerate(rows):
            hashed = full or number % max(1, len(rows) // SOME) == 0
            if images.pop(f"{row['key']}.{row['ext']}", None) != (row["offset"], row["size"]):
                report.add("no_bytes", str(row["uid"]))
            elif hashed and not _matches_uid(file, row):
                report.add("altered", str(row["uid"]))
            else:
                report.good += 1
    for name in images:
        report.add("no_row", f"{path.name}/{name}")


def _images(file: BinaryIO, path: Path, report: Report) -> dict[str, tuple[int, int]]:
    """Name -> offset and size of each whole image in a tar."""
    found = {}
    try:
        for member in tar.members(file):
            whole = member.offset + member.size <= path.stat().st_size
            if whole and member.trouble is None and member.name.rpartition(".")[2] in IMAGES:
                found[member.name] = (member.offset, member.size)
    except tar.Damaged:
        report.add("damaged_shard", path.name)
    return found


def _matches_uid(file: BinaryIO, row: Row) -> bool:
    file.seek(row["offset"])
    return uids.of(file.read(row["size"])) == row["uid"]


def _check_sources(folder: Path, report: Report) -> None:
    """Two images of one source uid, and rows that the index does not have."""
    path, seen = folder / "sources.parquet", Once()
    if not path.is_file():
        return
    try:
        file = pq.ParquetFile(path)
        index = pq.ParquetFile(folder / "index.parquet").iter_batches(ROWS, columns=["key"])
        keys = (key for batch in index for key in batch["key"].to_pylist())
        for batch in file.iter_batches(ROWS, columns=["key", "uid", "source_uid"]):
            for row in batch.to_pylist():
                if row["key"] != next(keys, None):
                    report.add("sources_differ", str(row["key"]))
                if row["source_uid"] and seen.differs(row["source_uid"], row["uid"]):
                    report.add("uid_conflict", row["source_uid"])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        report.add_file("sources_differ", path.name, error)
    if seen.full:
        report.notes.append("too many source uids: only the first were compared")
