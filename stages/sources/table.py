"""Your own list of images: a parquet, csv or tsv file with a row for each, as data frames and cleaning tools write them.

From: the file `dataset.path`; licence and checksum are its owner's (every stored image has its uid, a SHA-256).
`dataset.options` names the columns; one that is null is not read:

    image     a file's name below `root` (relative to the list; its folder, where null), or in a parquet file the
              image's bytes, alone or as Hugging Face's {bytes, path}
    label     text, sorted, or numbers, which keep their meaning; nothing, or an empty cell, is no label
    caption   text
    split     train, or test, val, validation; where null, about 10 % are test by a hash of the key

Read in batches, a few rows in memory. Keys are the files' names, or the rows' numbers where the bytes lie inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.dataset as ds

from stages.data import uids
from stages.params import Dataset, ParamsError, plugin_config
from stages.sources import Example, _files

FORMATS = {".parquet": "", ".csv": ",", ".tsv": "\t"}  # and what separates the columns
SPLITS = {"train": "train", "test": "test", "val": "test", "validation": "test"}
TEST_FRACTION = 0.1
ROWS = 256  # read at once: a row may hold a photograph


@dataclass
class Config:
    image: str = "image"
    label: str | None = None
    caption: str | None = None
    split: str | None = None
    root: str | None = None


def classes(config: Dataset) -> list[str]:
    """The distinct labels: sorted as text, or the numbers up to the highest."""
    options, table = _open(config)
    return [str(name) for name in _labels(table, options, str(config.path))] if options.label else []


def count(config: Dataset) -> int:
    """How many rows there are."""
    return int(_open(config)[1].count_rows())


def read(config: Dataset) -> Iterator[Example]:
    """Yield every row, in the file's order.

    Raises:
        ParamsError: when the file is missing or unreadable, or has no such column.
    """
    options, table = _open(config)
    path = Path(str(config.path)).expanduser()
    root = path.parent / (options.root or "")
    place = {name: label for label, name in enumerate(_labels(table, options, str(config.path)))} if options.label else {}
    columns = [name for name in (options.image, options.label, options.caption, options.split) if name]
    number = 0
    for batch in _batches(table, columns, str(config.path)):
        for row in batch.to_pylist():
            yield _example(root, number, row, options, place)
            number += 1


def _batches(table: ds.Dataset, columns: list[str], path: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from table.to_batches(columns=columns, batch_size=ROWS)
    except (OSError, pa.ArrowException) as error:
        raise ParamsError(f"dataset.path: {path!r} is damaged: {str(error).splitlines()[0]}") from None


def _example(root: Path, number: int, row: dict[str, Any], options: Config, place: dict[Any, int]) -> Example:
    image = row[options.image]
    data = image.get("bytes") if isinstance(image, dict) else image if isinstance(image, bytes) else None
    name = image.get("path") if isinstance(image, dict) else image if isinstance(image, str) else None
    key = name if name and data is None else f"{number:09d}"
    label = place.get(row[options.label]) if options.label else None
    caption = row[options.caption] if options.caption else None
    given = SPLITS.get(str(row[options.split])) if options.split else None
    split = given or ("test" if uids.fraction("split", key) < TEST_FRACTION else "train")
    if data is not None:
        return Example(key, data, split, label, caption)
    return _files.example(root, str(name or ""), key, split, label, caption)


def _open(config: Dataset) -> tuple[Config, ds.Dataset]:
    if not config.path:
        raise ParamsError("dataset.path: null; the table source needs a parquet, csv or tsv file")
    path = Path(config.path).expanduser()
    if path.suffix not in FORMATS or not path.is_file():
        raise ParamsError(f"dataset.path: {config.path!r} is no file of {', '.join(FORMATS)}; give one")
    options = plugin_config(Config, "dataset.options", config.options)
    kind: Any = "parquet"
    if path.suffix != ".parquet":
        parse = csv.ParseOptions(delimiter=FORMATS[path.suffix])
        kind = ds.CsvFileFormat(parse, convert_options=csv.ConvertOptions(strings_can_be_null=True))
    try:
        table = ds.dataset(path, format=kind)
    except (OSError, pa.ArrowException) as error:
        raise ParamsError(f"dataset.path: {config.path!r} cannot be read: {str(error).splitlines()[0]}") from None
    for use in ("image", "label", "caption", "split"):
        column = getattr(options, use)
        if column and column not in table.schema.names:
            raise ParamsError(f"dataset.options.{use}: {column!r} is no column; allowed: {', '.join(table.schema.names)}")
    return options, table


def _labels(table: ds.Dataset, options: Config, path: str) -> list[Any]:
    found: set[Any] = set()
    for batch in _batches(table, [str(options.label)], path):
        found.update(batch.column(0).unique().to_pylist())
    found.discard(None)
    if found and all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in found):
        return list(range(max(found) + 1))
    return sorted(found, key=str)
