"""An error that comes with a table of the examples that caused it."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class TableError(ValueError):
    """A mistake about certain examples: the message names a few of them, the table all.

    Args:
        columns: name -> values, all of one length, the first of them the uids.
    """

    def __init__(self, message: str, columns: Mapping[str, Sequence[Any]]) -> None:
        super().__init__(message)
        self.columns = columns

    def save(self, folder: Path) -> Path:
        """Write the table as csv into a folder, named after its first uid."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{next(iter(self.columns.values()))[0]}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(self.columns)
            rows.writerows(zip(*self.columns.values(), strict=True))
        return path
