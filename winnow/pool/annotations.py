"""The annotations of a pool: which objects are in its pictures, and where.

annotations.parquet has a row for each stored picture that its source annotates, in the order of the index;
`objects` is an empty list where an annotator found none, and a picture without a row is not annotated. `box`
is x, y, width, height in pixels of the stored picture, `label` an index into classes.json, `mask` the counts
of COCO's compressed run-length encoding of the stored picture's size, null where there is a box only. A
`crowd` is a region of many objects that neither training nor evaluation judges.

Join by `key`: an exact duplicate shares its uid with its original, and may be annotated otherwise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.pool.index import Index
from winnow.pool.pool import MEND

FILE = "annotations.parquet"
OBJECT = pa.struct(
    {
        "label": pa.int32(),
        "box": pa.list_(pa.float64(), 4),
        "area": pa.float64(),
        "crowd": pa.bool_(),
        "mask": pa.string(),
    }
)
ANNOTATIONS = pa.schema({"key": pa.string(), "uid": pa.string(), "objects": pa.list_(OBJECT)})


@dataclass(frozen=True)
class Objects:
    """The k objects of a picture.

    `labels` (k,) int, `boxes` (k, 4) float64 as x, y, width, height, `areas` (k,) float64, `crowd` (k,) bool,
    and `masks`, k counts of a run-length encoding or None.
    """

    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    crowd: np.ndarray
    masks: list[str | None]

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Objects) or len(self) != len(other) or self.masks != other.masks:
            return False
        names = ("labels", "boxes", "areas", "crowd")
        return all(np.array_equal(getattr(self, name), getattr(other, name)) for name in names)

    __hash__ = None  # type: ignore[assignment]


class Annotations:
    """`rows` (n,) int64, ascending: the rows of the index that are annotated; `of` gives a row's objects."""

    def __init__(self, table: pa.Table) -> None:
        self.rows = np.array([int(key) for key in table["key"].to_pylist()], np.int64)
        lists = table["objects"].combine_chunks()
        self._starts = lists.offsets.to_numpy()
        fields = lists.values
        self._label, self._area = (fields.field(name).to_numpy() for name in ("label", "area"))
        self._box = fields.field("box").values.to_numpy().reshape(-1, 4)
        self._crowd = fields.field("crowd").to_numpy(zero_copy_only=False)
        self._mask = fields.field("mask")

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """The annotations of the pool in a folder; None where its source gave none.

        Raises:
            ValueError: if there is a file that cannot be read.
        """
        path = folder / FILE
        if not path.is_file():  # a pool of an earlier release
            return None
        try:
            table = pq.ParquetFile(path).read()
            return cls(table) if len(table) else None
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise ValueError(f"{path}: cannot be read ({str(error).splitlines()[0]}); {MEND}") from None

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, row: int) -> Objects:
        """The objects of a row of the index.

        Raises:
            ValueError: if the row is not annotated.
        """
        place = int(np.searchsorted(self.rows, row))
        if place == len(self.rows) or self.rows[place] != row:
            raise ValueError(f"row {row} of the pool is not annotated")
        part = slice(int(self._starts[place]), int(self._starts[place + 1]))
        masks = self._mask[part].to_pylist()
        return Objects(self._label[part], self._box[part], self._area[part], self._crowd[part], masks)

    def distinct(self, index: Index, rows: np.ndarray) -> tuple[np.ndarray, int]:
        """Of annotated rows (n,), the most trusted one of each picture, ascending; and how many of the others
        are annotated otherwise than the one that stays.
        """
        kept, conflicts = [], 0
        for same in _groups(index, np.asarray(rows, np.int64)):
            kept.append(int(same[0]))
            conflicts += sum(self.of(int(row)) != self.of(kept[-1]) for row in same[1:])
        return np.sort(np.array(kept, np.int64)), conflicts


def _groups(index: Index, rows: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of each uid, the most trusted first."""
    places = index.place[rows]
    order = np.argsort(places)
    high, low = index.high[places[order]], index.low[places[order]]
    new = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    yield from np.split(rows[order], np.flatnonzero(new) + 1) if len(rows) else ()
