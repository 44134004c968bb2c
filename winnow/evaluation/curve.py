"""curve.csv: an arm's readings during its training; the one writer and the one reader.

One row per reading: step, flops (all that the arm has spent), examples_seen, loss (the mean since the last
reading), val_top1 (a kNN vote on the encoder's features, for every method), classifier_top1 (for a method
with a classifier), and retrieval and zero-shot metrics (for a method with captions).
"""

import csv
from pathlib import Path

from winnow.pipeline.files import replacing

Row = dict[str, float]
FILE = "curve.csv"


def write_curve(path: Path, rows: list[Row]) -> None:
    """Write all readings so far; all have the keys of the first."""
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    with replacing(path) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_curve(path: Path) -> list[Row]:
    """All readings; none where there is no file yet."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
