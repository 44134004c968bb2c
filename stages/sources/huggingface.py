"""A Hugging Face dataset from files on this machine: what `save_to_disk` wrote, parquet as the Hub lays it out, or an arrow cache.

From: the folder (or one .parquet or .arrow) `dataset.path`; licence and checksum are its owner's (every stored image has its uid,
a SHA-256). Nothing is downloaded, and the library `datasets` is not needed: its files are Arrow, its features are json.

    save_to_disk     PATH/state.json names the arrow files; of a DatasetDict, PATH/SPLIT/state.json
    the Hub          PATH/**/train-00000-of-00004.parquet, or PATH/**/train/*.parquet; `winnow export --format hf` is laid out so
    the cache        PATH/NAME-train-00000-of-00004.arrow

`dataset.options` names the columns; one that is null is found by its feature type:

    image     the first Image, {bytes, path}; plain bytes or file names will do as well. Files lie below PATH
    label     the first ClassLabel; if named, also numbers, which keep their meaning, or text, sorted. -1 and null are no label
    caption   the column caption or text, if it is text
    splits    what a split counts as: {extra: train}; null leaves it out

A split counts as train or test by its name (train; test, val, validation, dev, valid, eval). Of a single split about 10 % are test,
by a hash of the key. Keys are SPLIT-NUMBER, in the files' order. Read in batches of `ROWS`.

Source of the layouts: datasets 5.2, `arrow_dataset.py` (save_to_disk), `data_files.py` (splits by name), `features/features.py`.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from stages.data import uids
from stages.params import Dataset, ParamsError, plugin_config
from stages.sources import Example, _files

SPLITS = {"train": "train", "training": "train"}
SPLITS |= dict.fromkeys(("test", "testing", "val", "validation", "valid", "dev", "eval", "evaluation"), "test")
CAPTIONS = ("caption", "text")
TEST_FRACTION = 0.1
ROWS = 256  # at once: a row may hold a photograph


@dataclass
class Config:
    image: str | None = None
    label: str | None = None
    caption: str | None = None
    splits: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class _Set:
    """The files of each split, the columns to read, and the names of the classes (None: numbers)."""

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
    found, part = _open(config)
    return sum(_rows(path) for split in part for path in found.files[split])


def read(config: Dataset) -> Iterator[Example]:
    """Yield every row.

    Raises:
        ParamsError: when there is no such dataset, column or split, or a file is damaged.
    """
    found, part = _open(config)
    place = {name: label for label, name in enumerate(_names(found))}
    whole = len(part) == 1
    columns = [name for name in (found.image, found.label, found.caption) if name]
    for split in part:
        rows = (row for batch in found.batches(split, columns) for row in batch.to_pylist())
        for number, row in enumerate(rows):
            key = f"{split}-{number:09d}"
            own = "test" if uids.fraction("split", key) < TEST_FRACTION else "train"
            yield _example(found, row, key, own if whole else part[split], place)


def _example(found: _Set, row: dict[str, Any], key: str, split: str, place: dict[Any, int]) -> Example:
    image, value = row[found.image], row[found.label] if found.label else None
    label = (value if value >= 0 else None) if isinstance(value, int) and found.names is not None else place.get(value)
    label = None if label is not None and label >= len(place) else label
    caption = row[found.caption] if found.caption else None
    inner = image if isinstance(image, dict) else {"bytes": image} if isinstance(image, bytes) else {"path": image}
    if inner.get("bytes") is not None:
        return Example(key, inner["bytes"], split, label, caption)
    return _files.example(found.root, str(inner.get("path") or ""), key, split, label, caption)


def _open(config: Dataset) -> tuple[_Set, dict[str, str]]:
    """The set, and what each of its splits that are read counts as."""
    if not config.path:
        raise ParamsError("dataset.path: null; the huggingface source needs a folder that save_to_disk or the Hub laid out")
    options: Config = plugin_config(Config, "dataset.options", config.options)
    root = Path(config.path).expanduser()
    try:
        files = _files_of(root)
        if not files:
            raise ParamsError(f"dataset.path: {config.path!r} holds no Hugging Face dataset; give one by save_to_disk, or of .parquet")
        first = next(iter(files.values()))[0]
        schema, features = _schema(first), _features(first)
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        if isinstance(error, ParamsError):
            raise
        raise ParamsError(f"dataset.path: {config.path!r} cannot be read: {str(error).splitlines()[0]}") from None
    image = _column(options.image, "image", schema, lambda name, kind: kind.get("_type") == "Image" or name == "image", features)
    label = _column(options.label, "label", schema, lambda _, kind: kind.get("_type") == "ClassLabel", features)
    caption = _column(options.caption, "caption", schema, lambda name, _: name in CAPTIONS and _is_text(schema, name), features)
    if image is None:
        raise ParamsError(f"dataset.options.image: null, and no column is an image; allowed: {', '.join(schema.names)}")
    names = features.get(label or "", {}).get("names")
    return _Set(root if root.is_dir() else root.parent, files, image, label, caption, names), _counted(files, options)


def _counted(files: dict[str, list[Path]], options: Config) -> dict[str, str]:
    known = SPLITS | options.splits
    for name, value in options.splits.items():
        if value not in ("train", "test", None):
            raise ParamsError(f"dataset.options.splits.{name}: {value!r} is wrong; allowed: train, test, null")
    strange = next((split for split in files if split not in known), None)
    if strange is not None and len(files) > 1:
        raise ParamsError(f"dataset.options.splits.{strange}: not given; say train, test, or null to leave it out")
    return {split: part for split in files if (part := known.get(split, "train"))}


def _column(given: str | None, use: str, schema: pa.Schema, fits: Any, features: dict[str, Any]) -> str | None:
    if given is not None and given not in schema.names:
        raise ParamsError(f"dataset.options.{use}: {given!r} is no column; allowed: {', '.join(schema.names)}")
    kinds = {name: kind if isinstance(kind := features.get(name), dict) else {} for name in schema.names}
    return given or next((name for name, kind in kinds.items() if fits(name, kind)), None)


def _is_text(schema: pa.Schema, name: str) -> bool:
    return bool(pa.types.is_string(schema.field(name).type) or pa.types.is_large_string(schema.field(name).type))


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
    return dict(sorted(found.items(), key=lambda item: (SPLITS.get(item[0], "x") != "train", item[0])))


def _split(path: Path) -> str:
    """The split that a file's name says, or a folder's: the last word that is one; else train, as `datasets` has it."""
    words = [word for part in (*path.parts[:-1], path.stem) for word in re.split(r"[-._ 0-9]+", part.lower())]
    return next((word for word in reversed(words) if word in SPLITS), "train")


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        if path.suffix == ".parquet":
            yield from pq.ParquetFile(path).iter_batches(ROWS, columns=columns, use_threads=False)
        else:
            with pa.memory_map(str(path)) as source:  # batches lie in the file, not in memory
                yield from (batch.select(columns) for batch in pa.ipc.open_stream(source))
    except (OSError, pa.ArrowException) as error:
        raise ParamsError(f"dataset.path: {path} is damaged: {str(error).splitlines()[0]}") from None


def _rows(path: Path) -> int:
    return pq.ParquetFile(path).metadata.num_rows if path.suffix == ".parquet" else sum(map(len, _batches(path, [])))


def _schema(path: Path) -> pa.Schema:
    if path.suffix == ".parquet":
        return pq.ParquetFile(path).schema_arrow
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_stream(source).schema


def _features(path: Path) -> dict[str, Any]:
    """Column -> its feature, from the file's own metadata or dataset_info.json beside it."""
    about = (_schema(path).metadata or {}).get(b"huggingface")
    beside = path.parent / "dataset_info.json"
    facts = json.loads(about)["info"] if about else json.loads(beside.read_text(encoding="utf-8")) if beside.is_file() else {}
    features = facts.get("features")
    return features if isinstance(features, dict) else {}


def _names(found: _Set) -> list[Any]:
    if found.label is None:
        return []
    if found.names is not None:
        return found.names
    values = {value for split in found.files for batch in found.batches(split, [found.label]) for value in batch.column(0).to_pylist()}
    values -= {None}
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return list(range(1 + max((value for value in values if value >= 0), default=-1)))
    return sorted(values, key=str)
