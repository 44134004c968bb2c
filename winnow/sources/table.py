"""Your own list of images: a parquet, csv or tsv file with a row for each, as data frames write it.

From: the file `dataset.path`; licence and checksum are its owner's (every stored image has its uid, a
SHA-256). `dataset.options` names the columns; one that is null is not read:

    image     a file's name below `root` (relative to the list; its folder, where null), or in a parquet file
              the image's bytes, alone or as Hugging Face's {bytes, path}
    label     text, sorted, or numbers, which keep their meaning; an empty cell is no label
    caption   text
    split     train, or test, val, validation; where null, about 10 % are test by a hash of the key

Read in batches, a few rows in memory. Keys are the files' names, or the rows' numbers where the bytes lie
inside.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.dataset as ds

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example
from winnow.sources.formats import files, splits

FORMATS = {".parquet": "", ".csv": ",", ".tsv": "\t"}  # and what separates the columns
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
        ParamsError: if the file is missing or unreadable, or has no such column.
    """
    options, table = _open(config)
    path = Path(str(config.path)).expanduser()
    root = path.parent / (options.root or "")
    names = _labels(table, options, str(path)) if options.label else []
    labels = {name: label for label, name in enumerate(names)}
    columns = [name for name in (options.image, options.label, options.caption, options.split) if name]
    rows = (row for batch in _batches(table, columns, str(path)) for row in batch.to_pylist())
    for number, row in enumerate(rows):
        yield _example(root, number, row, options, labels)


def _batches(table: ds.Dataset, columns: list[str], path: str) -> Iterator[pa.RecordBatch]:
    try:
        yield from table.to_batches(columns=columns, batch_size=ROWS)
    except (OSError, pa.ArrowException) as error:
        raise ParamsError(f"dataset.path: {path!r} is damaged: {str(error).splitlines()[0]}") from None


def _example(
    root: Path, number: int, row: dict[str, Any], options: Config, labels: dict[Any, int]
) -> Example:
    data, name = files.image_cell(row[options.image])
    key = name if name and data is None else f"{number:09d}"
    label = labels.get(row[options.label]) if options.label else None
    caption = row[options.caption] if options.caption else None
    given = splits.SPLITS.get(str(row[options.split])) if options.split else None
    split = given or splits.by_hash(key)
    if data is not None:
        return Example(key, data, split, label, caption)
    return files.listed(root, name, key, split, label, caption)


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
        why = str(error).splitlines()[0]
        raise ParamsError(f"dataset.path: {config.path!r} cannot be read: {why}") from None
    known = table.schema.names
    for use in ("image", "label", "caption", "split"):
        column = getattr(options, use)
        if column and column not in known:
            raise ParamsError(f"dataset.options.{use}: {column!r} is no column; allowed: {', '.join(known)}")
    return options, table


def _labels(table: ds.Dataset, options: Config, path: str) -> list[Any]:
    found: set[Any] = set()
    for batch in _batches(table, [str(options.label)], path):
        found.update(batch.column(0).unique().to_pylist())
    found.discard(None)
    numbers = [value for value in found if isinstance(value, int) and not isinstance(value, bool)]
    if found and len(numbers) == len(found) and min(numbers) >= 0:
        return list(range(max(numbers) + 1))
    return sorted(found, key=str)
