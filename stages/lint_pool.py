"""`winnow lint` on what Winnow itself wrote: a pool against its tars, and a version against its pool.

A pool's index is read in batches and its shards by their headers, one shard's names in memory. Reasons:

    missing_shard, damaged_shard      rows whose tar is not there, or cannot be read to its end
    no_bytes                          a uid whose row points at nothing: no image of that name, offset and size in the tar
    altered                           bytes that do not hash to their uid: some rows of each shard, with `full` all
    no_row                            an image in a tar that the index does not name
    wrong_uid, wrong_label, wrong_key a uid that is not 32 hex digits, a label without a class, a key out of order
    wrong_index, wrong_classes        a file that cannot be read or lacks a column
    uid_conflict                      a source's uid that stands for two different images
    sources_differ                    rows of sources.parquet that are not the index's

    wrong_uids, unsorted, twice, not_in_pool, no_reason, reasons_differ      of a version
"""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.data import uids
from stages.data.pool import INDEX, SHARD
from stages.lint import Once, Report
from stages.sources import _tar
from stages.sources.webdataset import IMAGES

ROWS = 10_000
SOME = 8  # images of a shard that are hashed without `full`
COLUMNS = ["key", "uid", "shard", "offset", "size", "ext", "label"]
UID = re.compile(r"[0-9a-f]{32}")


def pool(folder: Path, full: bool) -> Report:
    """Check a pool; without `full` the bytes of `SOME` images of each shard are hashed."""
    report = Report(f"{folder}: a pool" + ("" if full else f", {SOME} images of each shard hashed; --full hashes all"))
    classes = _classes(folder, report)
    found: set[int] = set()
    last = ""
    try:
        for number, rows in groupby(_rows(folder / "index.parquet"), key=lambda row: row["shard"]):
            group = list(rows)
            last = _facts(group, last, classes, report)
            _shard(folder, number, group, report, full)
            found.add(number)
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        report.add("wrong_index", f"index.parquet ({' '.join(str(error).split())[:100]})")
        return report
    for path in sorted(folder.glob("shards/*.tar")):
        if path.name not in {Path(SHARD % number).name for number in found}:
            report.add("no_row", path.name)
    _sources(folder, report)
    return report


def version(folder: Path) -> Report:
    """Check a version: its uids, that its reasons agree, and that the pool two folders up, where there is one, has them."""
    report = Report(f"{folder}: a version")
    try:
        array = np.load(folder / "uids.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        report.add("wrong_uids", f"uids.npy ({' '.join(str(error).split())[:100]})")
        return report
    if array.dtype != uids.DTYPE or array.ndim != 1:
        report.add("wrong_uids", f'uids.npy ({array.dtype}, {array.ndim} dimensions; "u8,u8" and one are wanted)')
        return report
    ordered = np.sort(array)
    if not np.array_equal(ordered, array):
        report.add("unsorted", "uids.npy")
    for twice in np.unique(ordered[1:][ordered[1:] == ordered[:-1]]):
        report.add("twice", _hex(twice))
    report.good = len(np.unique(ordered))
    _reasons(folder, np.unique(ordered), report)
    index = folder.resolve().parent.parent / "pool" / "index.parquet"
    if index.is_file():
        _absent(np.unique(ordered), _halves(index, None), "not_in_pool", report)
    else:
        report.notes.append("no pool beside it, so its uids were not looked up")
    return report


def _classes(folder: Path, report: Report) -> int:
    try:
        names = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return len(names)
    except (OSError, ValueError, RecursionError):
        pass
    report.add("wrong_classes", "classes.json")
    return 1 << 31


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    file = pq.ParquetFile(path)
    if missing := set(INDEX.names) - set(file.schema_arrow.names):
        raise KeyError(f"no column {', '.join(sorted(missing))}")
    for batch in file.iter_batches(ROWS, columns=COLUMNS, use_threads=False):
        yield from batch.to_pylist()


def _facts(rows: list[dict[str, Any]], last: str, classes: int, report: Report) -> str:
    for row in rows:
        if not UID.fullmatch(str(row["uid"])):
            report.add("wrong_uid", str(row["key"]))
        if row["label"] is None or not -1 <= row["label"] < classes:
            report.add("wrong_label", str(row["key"]))
        if str(row["key"]) <= last:
            report.add("wrong_key", str(row["key"]))
        last = str(row["key"])
    return last


def _shard(folder: Path, number: int, rows: list[dict[str, Any]], report: Report, full: bool) -> None:
    """Each row against the tar's own headers: an image of its name and size must begin at its offset."""
    path = folder / (SHARD % number)
    if not path.is_file():
        report.add("missing_shard", path.name, len(rows))
        return
    members: dict[str, tuple[int, int]] = {}
    with open(path, "rb") as file:
        try:
            for member in _tar.members(file):
                whole = member.offset + member.size <= path.stat().st_size
                if whole and member.trouble is None and member.name.rpartition(".")[2] in IMAGES:
                    members[member.name] = (member.offset, member.size)
        except _tar.Damaged:
            report.add("damaged_shard", path.name)
        for place, row in enumerate(rows):
            if members.pop(f"{row['key']}.{row['ext']}", None) != (row["offset"], row["size"]):
                report.add("no_bytes", str(row["uid"]))
            elif (full or place % max(1, len(rows) // SOME) == 0) and not _holds(file, row):
                report.add("altered", str(row["uid"]))
            else:
                report.good += 1
    for name in members:
        report.add("no_row", f"{path.name}/{name}")


def _holds(file: Any, row: dict[str, Any]) -> bool:
    file.seek(row["offset"])
    return uids.of(file.read(row["size"])) == row["uid"]


def _sources(folder: Path, report: Report) -> None:
    """Two versions of one source uid, and rows that the index has not."""
    path = folder / "sources.parquet"
    if not path.is_file():
        return
    seen = Once()
    try:
        file = pq.ParquetFile(path)
        index = pq.ParquetFile(folder / "index.parquet").iter_batches(ROWS, columns=["key"])
        own = (key for batch in index for key in batch["key"].to_pylist())
        for batch in file.iter_batches(ROWS, columns=["key", "uid", "source_uid"]):
            for row in batch.to_pylist():
                if row["key"] != next(own, None):
                    report.add("sources_differ", str(row["key"]))
                if row["source_uid"] and seen.other(row["source_uid"], row["uid"]):
                    report.add("uid_conflict", row["source_uid"])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        report.add("sources_differ", f"sources.parquet ({' '.join(str(error).split())[:100]})")
    if seen.full:
        report.notes.append("too many source uids: only the first were compared")


def _reasons(folder: Path, held: np.ndarray, report: Report) -> None:
    path = folder / "reasons.parquet"
    if not path.is_file():
        report.add("no_reason", "reasons.parquet")
        return
    try:
        for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=["uid", "keep", "reason"]):
            for row in batch.to_pylist():
                if not row["keep"] and not row["reason"]:
                    report.add("no_reason", str(row["uid"]))
        kept = np.unique(_halves(path, "keep"))
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        report.add("reasons_differ", f"reasons.parquet ({' '.join(str(error).split())[:100]})")
        return
    _absent(held, kept, "reasons_differ", report)
    _absent(kept, held, "reasons_differ", report)


def _halves(path: Path, where: str | None) -> np.ndarray:
    """The uids of a table, of the rows where a column is true, as `uids.DTYPE`; what is no uid is left out."""
    found = []
    for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=["uid", where] if where else ["uid"]):
        names = batch.filter(batch[where])["uid"].to_pylist() if where else batch["uid"].to_pylist()
        good = [name for name in names if name and UID.fullmatch(name)]
        found.append(np.array([(int(name[:16], 16), int(name[16:], 16)) for name in good], uids.DTYPE))
    return np.concatenate(found) if found else np.empty(0, uids.DTYPE)


def _absent(wanted: np.ndarray, there: np.ndarray, reason: str, report: Report) -> None:
    for missing in np.setdiff1d(wanted, there):
        report.add(reason, _hex(missing))


def _hex(pair: Any) -> str:
    return f"{int(pair[0]):016x}{int(pair[1]):016x}"
