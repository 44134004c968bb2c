"""A Hugging Face dataset from local files: by `save_to_disk`, parquet as on the Hub, or an arrow cache.

From: the folder (or one .parquet or .arrow) `dataset.path`; licence and checksum are its owner's (every
stored image has its uid, a SHA-256). Nothing is downloaded, and the library `datasets` is not needed: its
files are Arrow, its features are json.

    save_to_disk     PATH/state.json names the arrow files; of a DatasetDict, PATH/SPLIT/state.json
    the Hub          PATH/**/train-00000-of-00004.parquet, or PATH/**/train/*.parquet, as
                     `winnow export --format hf` writes it
    the cache        PATH/NAME-train-00000-of-00004.arrow

`dataset.options` names the columns; one that is null is found by its feature type:

    image     the first Image, {bytes, path}; plain bytes or file names work as well. Files lie below PATH
    label     the first ClassLabel; if named, also numbers, which keep their meaning, or text, sorted. -1 and
              null are no label
    caption   the column caption or text, if it is text
    splits    what a split counts as: {extra: train}; null leaves it out

A split counts as train or test by its name (train; test, val, validation, dev, valid, eval). Of a single
split about 10 % are test, by a hash of the key. Keys are SPLIT-NUMBER, in the files' order. Read in batches
of `ROWS`.

Source of the layouts: datasets 5.2, `arrow_dataset.py` (save_to_disk), `data_files.py` (splits by name),
`features/features.py`.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example
from winnow.sources.formats import files, splits

TESTS = ("test", "testing", "val", "validation", "valid", "dev", "eval", "evaluation")
SPLITS = {"train": "train", "training": "train"} | dict.fromkeys(TESTS, "test")
CAPTIONS = ("caption", "text")
ROWS = 256  # at once: a row may hold a photograph
NEEDS = "the huggingface source needs a folder that save_to_disk or the Hub laid out"


@dataclass
class Config:
    image: str | None = None
    label: str | None = None
    caption: str | None = None
    splits: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Set:
    """The files of each split, the columns to read, and the names of the classes (None: numbers or text)."""

    root: Path
    files: dict[str, list[Path]]
    image: str
    label: str | None
    caption: str | None
    names: list[Any] | None

    def batches(self, split: str, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for path in self.files[split]:
            for batch in _batches(path, columns):
                for start in range(0, len(batch), ROWS):
                    yield batch.slice(start, ROWS)


def classes(config: Dataset) -> list[str]:
    """The names of the ClassLabel; else the label's numbers up to the highest, or its texts, sorted."""
    found, _ = _open(config)
    return [str(name) for name in _names(found)]


def count(config: Dataset) -> int:
    """How many rows the splits have that are read."""
    found, uses = _open(config)
    return sum(_rows(path) for split in uses for path in found.files[split])


def read(config: Dataset) -> Iterator[Example]:
    """Yield every row.

    Raises:
        ParamsError: if there is no such dataset, column or split, or a file is damaged.
    """
    found, uses = _open(config)
    labels = {name: label for label, name in enumerate(_names(found))}
    columns = [name for name in (found.image, found.label, found.caption) if name]
    for split, use in uses.items():
        rows = (row for batch in found.batches(split, columns) for row in batch.to_pylist())
        for number, row in enumerate(rows):
            key = f"{split}-{number:09d}"
            yield _example(found, row, key, splits.by_hash(key) if len(uses) == 1 else use, labels)


def _example(found: _Set, row: dict[str, Any], key: str, split: str, labels: dict[Any, int]) -> Example:
    value = row[found.label] if found.label else None
    if isinstance(value, int) and found.names is not None:
        label = value if 0 <= value < len(labels) else None
    else:
        label = labels.get(value)
    caption = row[found.caption] if found.caption else None
    data, name = files.image_cell(row[found.image])
    if data is not None:
        return Example(key, data, split, label, caption)
    return files.listed(found.root, name, key, split, label, caption)


def _open(config: Dataset) -> tuple[_Set, dict[str, str]]:
    """The set, and what each of its splits that are read counts as."""
    if not config.path:
        raise ParamsError(f"dataset.path: null; {NEEDS}")
    options: Config = plugin_config(Config, "dataset.options", config.options)
    root = Path(config.path).expanduser()
    try:
        found = _files_of(root)
        if not found:
            mend = "give one by save_to_disk, or of .parquet"
            raise ParamsError(f"dataset.path: {config.path!r} holds no Hugging Face dataset; {mend}")
        first = next(iter(found.values()))[0]
        schema, features = _schema(first), _features(first)
    except ParamsError:
        raise
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        why = str(error).splitlines()[0]
        raise ParamsError(f"dataset.path: {config.path!r} cannot be read: {why}") from None
    image, label, caption = _columns(options, schema, features)
    names = features.get(label or "", {}).get("names")
    folder = root if root.is_dir() else root.parent
    return _Set(folder, found, image, label, caption, names), _uses(found, options)


def _uses(found: dict[str, list[Path]], options: Config) -> dict[str, str]:
    """Split -> train or test, without those that are left out."""
    known = SPLITS | options.splits
    for name, value in options.splits.items():
        if value not in ("train", "test", None):
            allowed = "train, test, null"
            raise ParamsError(f"dataset.options.splits.{name}: {value!r} is wrong; allowed: {allowed}")
    unknown = next((split for split in found if split not in known), None)
    if unknown is not None and len(found) > 1:
        mend = "say train, test, or null to leave it out"
        raise ParamsError(f"dataset.options.splits.{unknown}: not given; {mend}")
    return {split: use for split in found if (use := known.get(split, "train"))}


def _columns(
    options: Config, schema: pa.Schema, features: dict[str, Any]
) -> tuple[str, str | None, str | None]:
    """The columns of the image, the label and the caption: those given, or the first that fits."""
    allowed = ", ".join(schema.names)

    def column(use: str, fits: Callable[[str, str | None], bool]) -> str | None:
        given: str | None = getattr(options, use)
        if given is not None and given not in schema.names:
            raise ParamsError(f"dataset.options.{use}: {given!r} is no column; allowed: {allowed}")
        return given or next((name for name in schema.names if fits(name, _type(features, name))), None)

    image = column("image", lambda name, kind: kind == "Image" or name == "image")
    label = column("label", lambda _, kind: kind == "ClassLabel")
    caption = column("caption", lambda name, _: name in CAPTIONS and _is_text(schema, name))
    if image is None:
        raise ParamsError(f"dataset.options.image: null, and no column is an image; allowed: {allowed}")
    return image, label, caption


def _type(features: dict[str, Any], name: str) -> str | None:
    feature = features.get(name)
    return feature.get("_type") if isinstance(feature, dict) else None


def _is_text(schema: pa.Schema, name: str) -> bool:
    kind = schema.field(name).type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _files_of(root: Path) -> dict[str, list[Path]]:
    """Split -> its files, in order; the train split first."""
    if root.is_file():
        return {"train": [root]}
    states = [state for state in (root / "state.json", *sorted(root.glob("*/state.json"))) if state.is_file()]
    found: dict[str, list[Path]] = {}
    for state in states:
        facts = json.loads(state.read_text(encoding="utf-8"))
        split = str(facts.get("_split") or "train") if state.parent == root else state.parent.name
        found[split] = [state.parent / Path(str(file["filename"])).name for file in facts["_data_files"]]
    paths = [] if states else sorted(root.rglob("*.parquet")) or sorted(root.rglob("*.arrow"))
    for path in paths:
        found.setdefault(_split(path.relative_to(root)), []).append(path)
    for path in (path for every in found.values() for path in every):
        files.check(path)
    return dict(sorted(found.items(), key=lambda item: (SPLITS.get(item[0], "x") != "train", item[0])))


def _split(path: Path) -> str:
    """The last word of a file's path that names a split; else train, as `datasets` has it."""
    words = [word for part in (*path.parts[:-1], path.stem) for word in re.split(r"[-._ 0-9]+", part.lower())]
    return next((word for word in reversed(words) if word in SPLITS), "train")


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        if path.suffix == ".parquet":
            yield from pq.ParquetFile(path).iter_batches(ROWS, columns=columns, use_threads=False)
        else:
            with pa.memory_map(str(path)) as source:  # batches stay in the file, not in memory
                yield from (batch.select(columns) for batch in pa.ipc.open_stream(source))
    except (OSError, pa.ArrowException) as error:
        raise ParamsError(f"dataset.path: {path} is damaged: {str(error).splitlines()[0]}") from None


def _rows(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(pq.ParquetFile(path).metadata.num_rows)
    return sum(map(len, _batches(path, [])))


def _schema(path: Path) -> pa.Schema:
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).schema_arrow
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).schema


def _features(path: Path) -> dict[str, Any]:
    """Column -> its feature, from the file's own metadata or dataset_info.json beside it."""
    facts: dict[str, Any] = {}
    beside = path.parent / "dataset_info.json"
    if about := (_schema(path).metadata or {}).get(b"huggingface"):
        facts = json.loads(about)["info"]
    elif beside.is_file():
        facts = json.loads(beside.read_text(encoding="utf-8"))
    features = facts.get("features")
    return features if isinstance(features, dict) else {}


def _names(found: _Set) -> list[Any]:
    if found.label is None:
        return []
    if found.names is not None:
        return found.names
    batches = (batch for split in found.files for batch in found.batches(split, [str(found.label)]))
    values = {value for batch in batches for value in batch.column(0).to_pylist()} - {None}
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return list(range(1 + max((value for value in values if value >= 0), default=-1)))
    return sorted(values, key=str)
