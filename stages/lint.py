"""What is wrong with a pool, a version or a source, told before anything runs; nothing is written.

    a pool         a folder with index.parquet and shards/: stages/lint_pool.py
    a version      a folder with uids.npy
    params.yaml    its `dataset`, with all its options
    shards         a folder or URL of .tar, one .tar, a-{0..9}.tar, or a .txt that lists them
    a table        .parquet, .csv, .tsv
    COCO           .json, its pictures in a folder near it
    Hugging Face   a folder with state.json, .arrow or .parquet
    class folders  any other folder

A source is read as `ingest` reads it, so each reason is the one that ingest would count. By default images are judged by their
headers, those in shards not at all; `full` decodes every one. Names and uids are compared as 64-bit hashes, `MOST` of them.
"""

import hashlib
import importlib
import io
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from stages.data import images
from stages.params import Dataset, ParamsError
from stages.params import load as load_params
from stages.sources import Example, _remote, webdataset
from stages.sources._lost import Lost

FIRST = 3  # names told of each reason
MOST = 2_000_000  # of what is remembered: 200 MB


@dataclass
class Report:
    """What was found: how many are good, and of each reason how many and the first names. `notes` are no errors."""

    kind: str
    good: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    first: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.counts)

    def add(self, reason: str, name: str, count: int = 1) -> None:
        """Count something that is wrong."""
        self.counts[reason] += count
        if len(self.first[reason]) < FIRST:
            self.first[reason].append(name)

    def lines(self) -> Iterator[str]:
        """What to print: the kind, a line for each reason, most frequent first, the notes, and the verdict."""
        yield self.kind
        for reason, count in sorted(self.counts.items(), key=lambda item: (-item[1], item[0])):
            names = ", ".join(ascii(name)[1:-1] if not name.isprintable() else name for name in self.first[reason])
            yield f"  {count:>9,}  {reason}: {names}{', ...' if count > len(self.first[reason]) else ''}"
        yield from (f"  note: {note}" for note in self.notes)
        yield f"  {self.good:>9,}  good" + (f", {self.counts.total():,} wrong" if self.failed else "; nothing wrong")


class Once:
    """Remembers values by name, up to `MOST` names, to find what comes twice."""

    def __init__(self) -> None:
        self.seen: dict[int, int] = {}

    def other(self, name: str, value: bytes | str) -> bool | None:
        """None for a name not met before; else whether its value was another then."""
        key, own = _digest(name), _digest(value)
        if key in self.seen:
            return self.seen[key] != own
        if len(self.seen) < MOST:
            self.seen[key] = own
        return None

    @property
    def full(self) -> bool:
        return len(self.seen) >= MOST


def lint(path: str, full: bool = False) -> Report:
    """Look at what lies at a path or URL.

    Raises:
        ValueError: when it is nothing that is known here, or cannot be read at all.
    """
    from stages import lint_pool  # here, because it needs `Report`

    folder = Path(path).expanduser()
    if (folder / "uids.npy").is_file():
        return lint_pool.version(folder)
    if (folder / "index.parquet").is_file() or (folder / "shards").is_dir():
        return lint_pool.pool(folder, full)
    dataset = _dataset(path)
    report = Report(f"{path}: read as dataset.source {dataset.source}" + ("" if full else ", by headers; --full decodes every image"))
    if dataset.source == "webdataset":
        _judge(_shards(dataset, full), report, dataset.max_pixels, full=full, unread=not full)
    else:
        _judge(importlib.import_module(f"stages.sources.{dataset.source}").read(dataset), report, dataset.max_pixels, full=full)
    return report


def _dataset(path: str) -> Dataset:
    """Which source reads it, with which options."""
    folder = Path(path).expanduser()
    if folder.suffix in (".yaml", ".yml"):
        return load_params(folder).dataset
    if _remote.is_url(path) or "{" in folder.name or folder.suffix in (".tar", ".txt"):
        return Dataset(source="webdataset", path=path)
    if folder.suffix == ".json":
        return _coco(folder)
    if folder.suffix in (".csv", ".tsv") or (folder.suffix == ".parquet" and not _is_hugging_face(folder)):
        return Dataset(source="table", path=path)
    if not folder.exists():
        raise ParamsError(f"{path}: is not there; give a pool, a version, params.yaml, or what a source reads")
    kinds = {"webdataset": ("*.tar",), "huggingface": ("state.json", "*/state.json", "*.arrow", "*.parquet", "*/*.parquet")}
    found = (kind for kind, patterns in kinds.items() if any(any(folder.glob(pattern)) for pattern in patterns))
    return Dataset(source="huggingface" if folder.is_file() else next(found, "folder"), path=path)


def _is_hugging_face(path: Path) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return b"huggingface" in (pq.ParquetFile(path).schema_arrow.metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _coco(path: Path) -> Dataset:
    """The pictures' folder is the nearest that has the first file: beside the json, or beside its folder."""
    try:
        facts: Any = json.loads(path.read_text(encoding="utf-8"))
        name = str(facts["images"][0]["file_name"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise ParamsError(f"{path}: is no COCO json with images; give annotations, or params.yaml") from None
    root = path.resolve().parent.parent
    near = [path.resolve().parent, *sorted(path.resolve().parent.iterdir()), root, *sorted(root.iterdir())]
    images_in = next((folder for folder in near if (folder / name).is_file()), near[0])
    part = {"annotations": str(path.resolve().relative_to(root)), "images": str(images_in.relative_to(root))}
    return Dataset(source="coco", path=str(root), options={"train": part})


def _shards(dataset: Dataset, full: bool) -> Iterator[Example]:
    count = len(webdataset.classes(dataset))
    for shard in webdataset.shards(dataset):
        yield from webdataset.read_shard(dataset, shard, count, webdataset.IMAGES + webdataset.TEXTS if full else webdataset.TEXTS)


def _judge(examples: Iterator[Example], report: Report, max_pixels: int, full: bool, unread: bool = False) -> None:
    """Count the examples of a source. `unread`: their images are not there to be judged."""
    keys, uids = Once(), Once()
    for example in examples:
        reason = example.reason if isinstance(example, Lost) else None if unread else _image(example.image, max_pixels, full)
        if reason is None and keys.other(example.key, b"") is not None:
            reason = "duplicate_key"
        if reason is None and example.uid and example.image and uids.other(example.uid, example.image):
            reason = "uid_conflict"
        if reason is None:
            report.good += 1
        else:
            report.add(reason, example.key)
    if keys.full or uids.full:
        report.notes.append(f"only the first {MOST:,} keys and uids were compared")


def _image(data: bytes, max_pixels: int, full: bool) -> str | None:
    """Why ingest would drop these bytes; by their header alone unless `full`."""
    try:
        if full:
            images.standardise(data, max_pixels)
            return None
        if not data:
            return "empty"
        with Image.open(io.BytesIO(data), formats=images.FORMATS) as image:
            return "too_many_pixels" if image.width * image.height > max_pixels else None
    except images.UnusableImage as error:
        return error.reason
    except Exception:  # Pillow raises anything on hostile bytes
        return "unreadable" if data.startswith(images.MAGIC) else "not_an_image"


def _digest(data: bytes | str) -> int:
    data = data if isinstance(data, bytes) else data.encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
