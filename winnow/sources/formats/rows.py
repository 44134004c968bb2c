"""The parquet that img2dataset writes beside each tar: a row for each link it tried, in the tar's order.

Source of the columns: img2dataset's README, "Output format", and its `writer.py`. DataComp adds `uid`.
`sha256` is that of the file as it was downloaded, before img2dataset resized or encoded it again
(`downloader.py`).
"""

from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow.parquet as pq

COLUMNS = ("key", "uid", "caption", "status", "sha256")
ROWS = 1024
MOST_WAITING = 200_000


class Rows:
    """Rows by key, read as they are needed; rows passed on the way to a key wait in memory."""

    def __init__(self, file: BinaryIO) -> None:
        """Open a parquet file; whatever pyarrow raises means that it is none."""
        parquet = pq.ParquetFile(file)
        names = [name for name in COLUMNS if name in parquet.schema_arrow.names]
        self.keyed = "key" in names  # without it the rows belong to something else
        self._batches = (
            parquet.iter_batches(ROWS, columns=names, use_threads=False) if self.keyed else iter(())
        )
        self._waiting: dict[str, dict[str, Any]] = {}

    def take(self, key: str) -> dict[str, Any] | None:
        """The row of a key, returned only once; None if there is none.

        Raises:
            Exception: what pyarrow raises on a damaged file; ValueError for too many rows without members.
        """
        while key not in self._waiting and self._more():
            pass
        return self._waiting.pop(key, None)

    def rest(self) -> Iterator[dict[str, Any]]:
        """The rows that nobody took; raises as `take`."""
        while True:
            yield from self._waiting.values()
            self._waiting = {}
            if not self._more():
                return

    def _more(self) -> bool:
        batch = next(self._batches, None)
        if batch is None:
            return False
        for row in batch.to_pylist():
            if row.get("status") in (None, "success"):
                self._waiting[str(row["key"])] = row
        if len(self._waiting) > MOST_WAITING:
            raise ValueError("rows without members")
        return True
