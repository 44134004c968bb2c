"""The semantic masks of a pool: the class of each pixel of its pictures.

A mask is the member KEY.seg.png of its picture's sample: 8-bit grey, as large as the stored picture, each
value a place in `classes`, `VOID` a pixel that neither training nor evaluation judges. masks.parquet has a
row for each stored picture with a mask, in the order of the index: where it lies in the picture's shard. The
names of the classes are in the file's schema, for they are not those of classes.json, which are the pictures'
own.

Join by `key`: an exact duplicate shares its uid with its original, and may have another mask.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from winnow.pool.index import Index
from winnow.pool.pool import MEND, Pool

FILE = "masks.parquet"
MEMBER = "seg.png"
VOID = 255
CLASSES = b"classes"  # the key of their names, a JSON list, in the schema's metadata
MASKS = pa.schema({"key": pa.string(), "uid": pa.string(), "offset": pa.int64(), "size": pa.int32()})


def schema(classes: Sequence[str]) -> pa.Schema:
    """The schema of masks.parquet."""
    return MASKS.with_metadata({CLASSES: json.dumps(list(classes)).encode()})


class Masks:
    """`rows` (n,) int64, ascending: the rows of the index that have a mask; `classes` the names of values."""

    def __init__(self, table: pa.Table, classes: list[str]) -> None:
        self.classes = classes
        self.rows = np.array([int(key) for key in table["key"].to_pylist()], np.int64)
        self._offset, self._size = (
            np.array(table[name].to_pylist(), np.int64) for name in ("offset", "size")
        )

    @classmethod
    def open(cls, folder: Path) -> Self | None:
        """The masks of the pool in a folder; None where its source gave none.

        Raises:
            ValueError: if there is a file that cannot be read.
        """
        path = folder / FILE
        if not path.is_file():  # a pool of an earlier release
            return None
        try:
            table = pq.ParquetFile(path).read()
            names = json.loads((table.schema.metadata or {}).get(CLASSES, b"[]"))
            return cls(table, names) if len(table) else None
        except (OSError, KeyError, ValueError, pa.ArrowException) as error:
            raise ValueError(f"{path}: cannot be read ({str(error).splitlines()[0]}); {MEND}") from None

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, pool: Pool, row: int) -> np.ndarray:
        """The mask of a row of the index, uint8 (height, width).

        Raises:
            ValueError: if the row has none, or its bytes are gone or no mask of these classes.
        """
        place = int(np.searchsorted(self.rows, row))
        if place == len(self.rows) or self.rows[place] != row:
            raise ValueError(f"row {row} of the pool has no mask")
        data = pool.read_at(row, int(self._offset[place]), int(self._size[place]))
        try:
            mask = np.asarray(Image.open(io.BytesIO(data), formats=("PNG",)))
        except OSError as error:
            raise ValueError(
                f"{pool.folder}: the mask of row {row} does not decode ({error}); {MEND}"
            ) from None
        if mask.ndim != 2 or mask.dtype != np.uint8 or (mask[mask != VOID] >= len(self.classes)).any():
            raise ValueError(f"{pool.folder}: the mask of row {row} was altered; {MEND}")
        return mask

    def distinct(self, index: Index, rows: np.ndarray) -> np.ndarray:
        """Of rows with a mask (n,) the most trusted one of each picture, ascending."""
        rows = np.asarray(rows, np.int64)
        order = rows[np.argsort(index.place[rows])]
        pairs = np.stack([index.high[order], index.low[order]], axis=1)
        _, first = np.unique(pairs, axis=0, return_index=True)
        return np.sort(order[first])
