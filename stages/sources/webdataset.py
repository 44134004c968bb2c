"""Your own WebDataset shards, as img2dataset and DataComp write them: PATH/*.tar of KEY.jpg|png|webp|txt|cls|json.

From: the folder (or one .tar) `dataset.path`; licence and checksum are its owner's (every stored image has its uid, a
SHA-256). The order is fixed: shards sorted by name, examples as stored. Read as a stream, one example in memory. Keys
are SHARD/KEY.

    caption   KEY.txt, or else `caption` in KEY.json
    label     the integer in KEY.cls; classes are named by PATH/classes.json (a list), or else by their numbers
    split     `split` in KEY.json (train, or test, val, validation), or else about 10 % are test by a hash of the key

A sample without an image is counted as dropped (no_image). Of a shard that ends early or is damaged, what can be read
is yielded and the rest is one dropped example whose reason names the shard. A pool that ingest wrote can be read
again as it is. Source of the conventions: WebDataset's README; img2dataset's README, "Output format".
"""

import contextlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.data import uids
from stages.params import Dataset, ParamsError
from stages.sources import Example
from stages.sources._lost import Lost

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "avif", "img")
SPLITS = {"train": "train", "test": "test", "val": "test", "validation": "test"}
TEST_FRACTION = 0.1
BLOCK = 512


class _Damaged(Exception):
    """A shard cannot be read any further."""


def classes(config: Dataset) -> list[str]:
    """The names in PATH/classes.json; without it, the numbers up to the highest label in the shards.

    Raises:
        ParamsError: when there are no shards, or classes.json is no list of names.
    """
    shards = _shards(config)
    path = Path(str(config.path)).expanduser() / "classes.json"
    if not path.is_file():
        return [str(n) for n in range(1 + max(map(_highest_label, shards)))]
    try:
        names = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ParamsError(f"dataset.path: {path} is wrong; a JSON list of class names is wanted")
    return names


def read(config: Dataset) -> Iterator[Example]:
    """Yield every sample of every shard.

    Raises:
        ParamsError: as `classes`.
    """
    count = len(classes(config))
    for shard in _shards(config):
        try:
            for key, parts in _samples(shard):
                yield _example(f"{shard.stem}/{key}", parts, count)
        except _Damaged:
            yield Lost(shard.name, b"", reason=f"damaged_shard_{shard.name}")


def _highest_label(shard: Path) -> int:
    """-1 where there is none."""
    highest = -1
    with contextlib.suppress(_Damaged):
        for _, parts in _samples(shard, only=("cls",)):
            label = _label(parts)
            highest = max(highest, -1 if label is None else label)
    return highest


def _shards(config: Dataset) -> list[Path]:
    if not config.path:
        raise ParamsError("dataset.path: null; the webdataset source needs a folder of .tar shards")
    root = Path(config.path).expanduser()
    shards = [root] if root.is_file() else sorted(root.glob("*.tar")) or sorted(root.glob("shards/*.tar"))
    if not shards:
        raise ParamsError(f"dataset.path: {config.path!r} holds no .tar shard; give a folder of them")
    return shards


def _example(key: str, parts: dict[str, bytes], count: int) -> Example:
    facts = _facts(parts)
    given = SPLITS.get(str(facts.get("split")))
    split = given or ("test" if uids.fraction("split", key) < TEST_FRACTION else "train")
    image = next((parts[ext] for ext in IMAGES if ext in parts), None)
    label = _label(parts)
    if image is None:
        return Lost(key, b"", split, reason="no_image")
    if label is None and "cls" in parts:
        return Lost(key, b"", split, reason="label_unreadable")
    if label is not None and label >= count:
        return Lost(key, b"", split, reason="label_out_of_range")
    return Example(key, image, split, label, _caption(parts, facts))


def _facts(parts: dict[str, bytes]) -> dict[str, Any]:
    try:
        facts = json.loads(parts.get("json", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _label(parts: dict[str, bytes]) -> int | None:
    text = parts.get("cls", b"").strip()
    return int(text) if text.isdigit() and len(text) < 10 else None


def _caption(parts: dict[str, bytes], facts: dict[str, Any]) -> str | None:
    caption = parts["txt"].decode("utf-8", "replace") if "txt" in parts else facts.get("caption")
    return _text(caption).strip() or None if isinstance(caption, str) else None


def _samples(shard: Path, only: tuple[str, ...] | None = None) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Group neighbouring members of one base name: (KEY, {extension: bytes}); `only` leaves other members unread.

    Raises:
        _Damaged: after everything that could be read.
    """
    key: str | None = None
    parts: dict[str, bytes] = {}
    try:
        for name, ext, data in _members(shard, only):
            if name != key and key is not None:
                yield key, parts
                parts = {}
            key = name
            parts.setdefault(ext, data)
    except _Damaged:
        if key is not None and set(IMAGES) & set(parts):
            yield key, parts
        raise
    if key is not None:
        yield key, parts


def _members(shard: Path, only: tuple[str, ...] | None) -> Iterator[tuple[str, str, bytes]]:
    with open(shard, "rb") as file:
        try:
            tar = tarfile.TarFile(fileobj=file)
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # or all headers of a shard would stay in memory
                folder, _, base = member.name.removeprefix("./").rpartition("/")
                stem, _, ext = base.partition(".")
                if member.isfile() and (only is None or ext.lower() in only):
                    data = tar.extractfile(member).read()  # type: ignore[union-attr]
                    yield _text(f"{folder}/{stem}" if folder else stem), ext.lower(), data
            file.seek(tar.offset)
            ended = file.read(BLOCK) == bytes(BLOCK)
        except Exception as error:  # a damaged header makes tarfile raise anything from ReadError to OverflowError
            raise _Damaged from error
        if not ended:  # tarfile takes a cut or damaged header for the end; a whole archive ends with a block of zeros
            raise _Damaged


def _text(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
