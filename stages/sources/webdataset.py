"""WebDataset shards, as img2dataset and DataComp write them: *.tar of KEY.jpg|png|webp|txt|cls|json, here or behind a URL.

From: `dataset.path`, a folder, a .tar, a{0..9}.tar, or a .txt that lists them, each a local path or a URL of http, s3, ...
(stages/sources/_shards.py); licence and checksum are its owner's (every stored image has its uid, a SHA-256). Read as a stream,
one example in memory, remote shards too. The order is fixed: shards as listed, examples as stored. Keys are SHARD/KEY.

    caption   KEY.txt, or else `caption` in KEY.json, or in the row
    label     the integer in KEY.cls; classes are named by classes.json (a list), or else, of local shards, by their numbers
    split     `split` in KEY.json (train, or test, val, validation), or else about 10 % are test by a hash of the key
    uid       `uid` in KEY.json, or in the row: DataComp's name for the image
    row       that of KEY in SHARD.parquet, where img2dataset left one beside the tar

Dropped and counted, each with its reason; of two the first stays:

    no_image, two_images, duplicate_member          what the sample holds
    label_unreadable, label_out_of_range            KEY.cls
    duplicate_key, uid_conflict                     a key, or another picture's uid, met before in the same shard
    link_in_shard, not_a_file, sparse_member        a member that is no plain file
    too_large_member                                an image above 320 MB, a text above 1 MB
    missing_member, no_row, uid_differs             tar and parquet disagree
    sha256_differs                                  only with `options.sha256`: img2dataset's is of the file before it resized it
    damaged_shard_*, unreachable_shard_*,           what follows there, as one
    unreadable_parquet_*

Names are text, never paths: nothing is unpacked. A pool that ingest wrote can be read again as it is. Source of the
conventions: WebDataset's README; img2dataset's README, "Output format".
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from stages.data import uids
from stages.params import Dataset, ParamsError, plugin_config
from stages.sources import Example, _shards
from stages.sources._lost import Lost
from stages.sources._remote import Unreachable, is_url
from stages.sources._rows import Rows
from stages.sources._samples import IMAGES, TEXT_BYTES, TEXTS, Sample, samples
from stages.sources._tar import Damaged

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "test": "test", "val": "test", "validation": "test"}
TEST_FRACTION = 0.1


@dataclass
class Config:
    """`storage` is handed to fsspec: {anon: true}, {endpoint_url: ...}, ..."""

    sha256: bool = False
    storage: dict[str, Any] = field(default_factory=dict)


def classes(config: Dataset) -> list[str]:
    """The names in classes.json; without it, the numbers up to the highest label in the shards, if they are local.

    Raises:
        ParamsError: when there are no shards, or classes.json is no list of names.
    """
    found = shards(config)
    try:
        place = _shards.classes_file(str(config.path), found)
    except Unreachable as error:
        raise ParamsError(f"dataset.path: {config.path!r}: the server does not say whether classes.json is there ({error})") from None
    if place is None:
        return [str(n) for n in range(1 + max(_highest_label(shard) for shard in found))]
    try:
        with _shards.opened(place, found[0].storage) as file:
            names = json.loads(file.read(TEXT_BYTES * 10))
    except (ValueError, OSError, Unreachable, RecursionError):
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ParamsError(f"dataset.path: {place} is wrong; a JSON list of class names is wanted")
    return names


def read(config: Dataset) -> Iterator[Example]:
    """Yield every sample of every shard.

    Raises:
        ParamsError: as `classes`; and at the first label of remote shards without classes.json.
    """
    count = len(classes(config))
    for shard in shards(config):
        yield from read_shard(config, shard, count)


def shards(config: Dataset) -> list[_shards.Shard]:
    """The shards of `dataset.path`, in order; raises ParamsError as `classes`."""
    if not config.path:
        raise ParamsError("dataset.path: null; the webdataset source needs a folder of .tar shards")
    return _shards.shards(config.path, _options(config).storage)


def read_shard(config: Dataset, shard: _shards.Shard, count: int, wanted: tuple[str, ...] = IMAGES + TEXTS) -> Iterator[Example]:
    """Yield every sample of one shard; `count` is that of the classes. Images that are not `wanted` are left unread, and empty."""
    name = _shards.text(shard.file)
    with contextlib.ExitStack() as open_files:
        reader = _Reader(shard, _options(config), count)
        try:
            reader.open_rows(open_files)
            file = open_files.enter_context(shard.open())
            yield from map(reader.example, samples(file, wanted))
            yield from reader.missing()
        except Damaged:
            yield Lost(name, b"", reason=f"damaged_shard_{name}")
        except (Unreachable, OSError) as error:
            log.warning("%s", error)  # dropped.parquet has the shard's name; why the server failed is told here only
            yield Lost(name, b"", reason=f"unreachable_shard_{name}")
        yield from reader.notes


class _Reader:
    """Turns one shard's samples into examples, and remembers of them what must not come twice: 64 bits of each key and uid."""

    def __init__(self, shard: _shards.Shard, options: Config, count: int) -> None:
        self.shard, self.options, self.count = shard, options, count
        self.keys: set[int] = set()
        self.uids: dict[int, int] = {}
        self.notes: list[Lost] = []
        self.rows: Rows | None = None

    def open_rows(self, open_files: contextlib.ExitStack) -> None:
        """Find the parquet beside the shard; raises Unreachable where the server does not say whether there is one."""
        beside = self.shard.beside(".parquet")
        if beside is not None:
            try:
                self.rows = Rows(open_files.enter_context(beside.open()))
                self.rows = self.rows if self.rows.keyed else None
            except Exception:  # pyarrow raises anything from ArrowInvalid to MemoryError on a damaged file
                self._without_rows()

    def example(self, sample: Sample) -> Example:
        """The example of a sample; `Lost` where something is wrong with it."""
        row = self._row(sample.key)
        facts = _facts(sample.parts)
        found = _example(f"{self.shard.name}/{sample.key}", sample.parts, facts, row or {})
        trouble = sample.trouble or self._trouble(sample, facts, row, found)
        return found if trouble is None else Lost(found.key, b"", found.split, uid=found.uid, reason=trouble)

    def missing(self) -> Iterator[Lost]:
        """What the parquet says is there and the tar has not."""
        try:
            for row in self.rows.rest() if self.rows else ():
                if row.get("status") == "success":
                    example = _example(f"{self.shard.name}/{row['key']}", {}, {}, row)
                    yield Lost(example.key, b"", example.split, uid=example.uid, reason="missing_member")
        except Exception:
            self._without_rows()

    def _trouble(self, sample: Sample, facts: dict[str, Any], row: dict[str, Any] | None, found: Example) -> str | None:
        key = _digest(found.key)
        if key in self.keys:
            return "duplicate_key"
        self.keys.add(key)
        if not set(IMAGES) & set(sample.parts):
            return "no_image"
        if self.rows and row is None:
            return "no_row"
        if facts.get("uid") and row and row.get("uid") and facts["uid"] != row["uid"]:
            return "uid_differs"
        claimed = (row or {}).get("sha256") or facts.get("sha256")
        if self.options.sha256 and claimed and found.image and hashlib.sha256(found.image).hexdigest() != claimed:
            return "sha256_differs"
        return self._label_trouble(sample, found) or self._uid_trouble(found)

    def _label_trouble(self, sample: Sample, found: Example) -> str | None:
        if "cls" not in sample.parts:
            return None
        if is_url(self.shard.place) and not self.count:
            raise ParamsError(f"dataset.path: {self.shard.place} has labels; put classes.json, a list of their names, beside it")
        return "label_unreadable" if found.label is None else "label_out_of_range" if found.label >= self.count else None

    def _uid_trouble(self, found: Example) -> str | None:
        if found.uid is None or not found.image:
            return None
        image = _digest(found.image)
        return "uid_conflict" if self.uids.setdefault(_digest(found.uid), image) != image else None

    def _row(self, key: str) -> dict[str, Any] | None:
        try:
            return self.rows.take(key) if self.rows else None
        except Exception:
            self._without_rows()
            return None

    def _without_rows(self) -> None:
        self.rows = None
        name = self.shard.name + ".parquet"
        self.notes.append(Lost(name, b"", reason=f"unreadable_parquet_{name}"))


def _highest_label(shard: _shards.Shard) -> int:
    """-1 where there is none, or the shard is far away."""
    if is_url(shard.place):
        return -1
    with contextlib.suppress(OSError):
        state = os.stat(shard.place)
        return _highest_in(shard.place, (state.st_size, state.st_mtime_ns))
    return -1


@functools.cache  # ingest asks for the classes, and reading does: every header is read once for them, not twice
def _highest_in(place: str, state: tuple[int, int]) -> int:
    highest = -1
    with contextlib.suppress(Damaged, OSError), open(place, "rb") as file:
        for sample in samples(file, wanted=("cls",)):
            label = _label(sample.parts)
            highest = max(highest, -1 if label is None else label)
    return highest


def _example(key: str, parts: dict[str, bytes], facts: dict[str, Any], row: dict[str, Any]) -> Example:
    given = SPLITS.get(str(facts.get("split")))
    split = given or ("test" if uids.fraction("split", key) < TEST_FRACTION else "train")
    image = next((parts[ext] for ext in IMAGES if ext in parts), b"")
    texts = (parts.get("txt", b"").decode("utf-8", "replace"), facts.get("caption"), row.get("caption"))
    caption = next((clean for text in texts if (clean := _clean(text))), None)
    uid = next((clean for text in (facts.get("uid"), row.get("uid")) if (clean := _clean(text))), None)
    return replace(Example(key, image, split, _label(parts), caption), uid=uid)


def _facts(parts: dict[str, bytes]) -> dict[str, Any]:
    try:
        facts = json.loads(parts.get("json", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _label(parts: dict[str, bytes]) -> int | None:
    text = parts.get("cls", b"").strip()
    return int(text) if text.isdigit() and len(text) < 7 else None  # a million classes: more is a number of something else


def _clean(text: Any) -> str:
    """Text that every table can hold; json may hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8").strip() if isinstance(text, str) else ""


def _digest(data: bytes | str) -> int:
    data = data if isinstance(data, bytes) else data.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def _options(config: Dataset) -> Config:
    options: Config = plugin_config(Config, "dataset.options", config.options)
    return options
