"""Your own images in class folders: PATH/CLASS/*, or PATH/train/CLASS/* with PATH/test/CLASS/* (or `val`).

From: the folder `dataset.path`; licence and checksum are its owner's (every stored image has its uid, a
SHA-256). Classes are the folders' names, sorted; files may lie deeper inside a class folder. A file beside
the class folders has no label. Every file is yielded, whatever its name: ingest drops and counts what is no
image. Captions: "a photo of CLASS". Without train/test folders, about 10 % of the files are the test split,
by a hash of the key. Keys are paths relative to PATH. The order is fixed: the first file of each class by
name, then the second of each, ..., so that a limit keeps classes balanced. Only the names of the files are
kept in memory: a tree like ImageNet-21k's, 14 million files, takes about 0.5 GB.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Example
from winnow.sources.formats import files, names, splits

SPLITS = {name: splits.SPLITS[name] for name in ("train", "test", "val")}


@dataclass(frozen=True)
class _File:
    path: Path
    key: str
    split: str
    group: str | None  # the class


def classes(config: Dataset) -> list[str]:
    """The class folders' names, sorted."""
    folders = (folder for top, _ in _tops(_root(config)) for folder in _entries(top) if folder.is_dir())
    return sorted({names.text(folder.name) for folder in folders})


def captions(config: Dataset) -> list[str]:
    """The caption that each class's images have."""
    return [names.caption(name) for name in classes(config)]


def count(config: Dataset) -> int:
    """How many files there are."""
    return sum(1 for _ in _files(_root(config)))


def read(config: Dataset) -> Iterator[Example]:
    """Yield every file below `dataset.path`; one that cannot be read as `Unreadable`.

    Raises:
        ParamsError: if the folder is missing or empty, or mixes train/test with other folders.
    """
    labels = {name: label for label, name in enumerate(classes(config))}
    found = _files(_root(config))
    first = next(found, None)
    if first is None:
        raise ParamsError(f"dataset.path: {config.path!r} holds no file; give a folder of class folders")
    for file in chain([first], found):
        label = None if file.group is None else labels[file.group]
        caption = None if file.group is None else names.caption(file.group)
        yield files.example(file.path, file.key, file.split, label, caption)


def _root(config: Dataset) -> Path:
    if not config.path:
        raise ParamsError("dataset.path: null; the folder source needs a folder of class folders")
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise ParamsError(f"dataset.path: {config.path!r} is no folder; give a folder of class folders")
    return root


def _tops(root: Path) -> list[tuple[Path, str | None]]:
    """The folders that hold class folders, each with its split; None where the hash decides."""
    folders = [entry for entry in _entries(root) if entry.is_dir()]
    given = [folder for folder in folders if folder.name in SPLITS]
    if "train" not in [folder.name for folder in given]:
        return [(root, None)]
    other = sorted(names.text(folder.name) for folder in folders if folder not in given)
    if other:
        raise ParamsError(
            f"dataset.path: {root} has {other[0]!r} beside 'train'; allowed there: {', '.join(SPLITS)}"
        )
    return [(folder, SPLITS[folder.name]) for folder in given]


def _files(root: Path) -> Iterator[_File]:
    """All files; the n-th of each class of each split before any (n + 1)-th."""
    groups = [_named(root, *group) for group in _groups(root)]
    while groups:
        turn = [(file, group) for group in groups if (file := next(group, None)) is not None]
        groups = [group for _, group in turn]
        yield from sorted((file for file, _ in turn), key=lambda file: file.key)


def _groups(root: Path) -> Iterator[tuple[str | None, str | None, Path, bytes]]:
    """(split, class, folder, names): the files of one class folder, or those beside the class folders."""
    tops = _tops(root)
    if tops[0][0] != root:
        yield None, None, root, _loose(root)
    for top, split in tops:
        yield split, None, top, _loose(top)
        for folder in _entries(top):
            if folder.is_dir():
                yield split, names.text(folder.name), folder, _walk(folder)


def _named(root: Path, split: str | None, group: str | None, folder: Path, joined: bytes) -> Iterator[_File]:
    start = 0
    while start < len(joined):
        end = joined.find(b"\0", start)
        path = folder / os.fsdecode(joined[start:end])
        key = names.text(path.relative_to(root).as_posix())
        yield _File(path, key, split or splits.by_hash(key), group)
        start = end + 1


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _loose(folder: Path) -> bytes:
    return _joined(os.fsencode(entry.name) for entry in _entries(folder) if not entry.is_dir())


def _walk(folder: Path) -> bytes:
    """Every file below a folder, sorted; links to folders are followed, each folder once."""
    found, seen = [], set()
    for place, folders, entries in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        inner = os.path.relpath(place, folder)
        found += [os.fsencode(name if inner == "." else f"{inner}/{name}") for name in entries]
    return _joined(sorted(found, key=lambda name: name.split(b"/")))


def _joined(every: Iterable[bytes]) -> bytes:
    """Each name and a zero byte: a fifth of the memory that a list of them takes."""
    return b"".join(name + b"\0" for name in every)
