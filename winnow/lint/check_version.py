"""`winnow lint` on a version: its uids against its reasons and its pool. Reasons:

wrong_uids       uids.npy cannot be read, or is no list of uids
unsorted, twice  uids out of order, or that occur twice
not_in_pool      a uid that the pool does not have
no_reason        a dropped row without a reason, or no reasons.parquet
reasons_differ   a uid that only one of uids.npy and reasons.parquet holds
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.lint.report import Report
from winnow.pool import uids
from winnow.pool.index import invalid_uids, split_uids

ROWS = 10_000


def check_version(folder: Path) -> Report:
    """Check a version; its datasets are those below `datasets` beside its parent folder, where they are."""
    report = Report(f"{folder}: a version")
    try:
        array = np.load(folder / "uids.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        report.add_file("wrong_uids", "uids.npy", error)
        return report
    if array.dtype != uids.DTYPE or array.ndim != 1:
        found = f"{array.dtype}, {array.ndim} dimensions"
        report.add("wrong_uids", f'uids.npy ({found}; it must be one-dimensional, of dtype "u8,u8")')
        return report
    held, counts = np.unique(array, return_counts=True)
    if not np.array_equal(np.sort(array), array):
        report.add("unsorted", "uids.npy")
    for twice in held[counts > 1]:
        report.add("twice", _hex(twice))
    report.good = len(held)
    _check_reasons(folder, held, report)
    indexes = sorted(folder.resolve().parent.parent.glob("datasets/*/*/index.parquet"))
    if indexes:
        known = np.concatenate([_uids_in(index, None) for index in indexes])
        _add_missing(held, known, "not_in_pool", report)
    else:
        report.notes.append("no datasets beside it, so its uids were not looked up")
    return report


def _check_reasons(folder: Path, held: np.ndarray, report: Report) -> None:
    path = folder / "reasons.parquet"
    if not path.is_file():
        report.add("no_reason", path.name)
        return
    try:
        for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=["uid", "keep", "reason"]):
            for row in batch.to_pylist():
                if not row["keep"] and not row["reason"]:
                    report.add("no_reason", str(row["uid"]))
        kept = np.unique(_uids_in(path, "keep"))
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        report.add_file("reasons_differ", path.name, error)
        return
    _add_missing(held, kept, "reasons_differ", report)
    _add_missing(kept, held, "reasons_differ", report)


def _uids_in(path: Path, where: str | None) -> np.ndarray:
    """The valid uids of a table, of the rows where a column is true, as `uids.DTYPE`."""
    found = [np.empty(0, uids.DTYPE)]
    for batch in pq.ParquetFile(path).iter_batches(ROWS, columns=["uid", where] if where else ["uid"]):
        names = (batch.filter(batch[where]) if where else batch)["uid"].to_pylist()
        valid = [name for name in names if name and not any(invalid_uids([name]))]
        part = np.empty(len(valid), uids.DTYPE)
        part["f0"], part["f1"] = split_uids(valid)
        found.append(part)
    return np.concatenate(found)


def _add_missing(uids_there: np.ndarray, among: np.ndarray, reason: str, report: Report) -> None:
    for missing in np.setdiff1d(uids_there, among):
        report.add(reason, _hex(missing))


def _hex(pair: np.void) -> str:
    return f"{int(pair[0]):016x}{int(pair[1]):016x}"
