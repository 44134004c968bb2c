"""The samples of one shard as examples; winnow/sources/webdataset.py lists what is dropped, and why."""

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any

from winnow.config.errors import ParamsError
from winnow.ingest.example import Example, Unreadable
from winnow.sources.formats import splits
from winnow.sources.formats.remote import is_url
from winnow.sources.formats.rows import Rows
from winnow.sources.formats.samples import IMAGES, Sample
from winnow.sources.formats.shards import Shard

LABEL_DIGITS = 6  # a million classes: a longer number is no label


class ShardReader:
    """Turns one shard's samples into examples.

    It remembers what must be unique in the shard, as 64 bits of each key and uid. `notes` holds what is wrong
    with the shard's parquet.

    Args:
        sha256: compare each image with the SHA-256 that the shard or its parquet gives.
        count: how many classes there are.
    """

    def __init__(self, shard: Shard, sha256: bool, count: int) -> None:
        self.shard, self.sha256, self.count = shard, sha256, count
        self.keys: set[int] = set()
        self.uids: dict[int, int] = {}
        self.notes: list[Unreadable] = []
        self.rows: Rows | None = None

    def open_rows(self, open_files: contextlib.ExitStack) -> None:
        """Open the parquet beside the shard, if there is one.

        Raises:
            Unreachable: if the server does not say whether there is one.
        """
        beside = self.shard.beside(".parquet")
        if beside is None:
            return
        try:
            rows = Rows(open_files.enter_context(beside.open()))
            self.rows = rows if rows.keyed else None
        except Exception:  # on a damaged file pyarrow raises anything from ArrowInvalid to MemoryError
            self._give_up_rows()

    def example(self, sample: Sample) -> Example:
        """The example of a sample; `Unreadable` if something is wrong with it."""
        row = self._row(sample.key)
        facts = _facts(sample.parts)
        found = _example(f"{self.shard.name}/{sample.key}", sample.parts, facts, row or {})
        trouble = sample.trouble or self._trouble(sample, facts, row, found)
        if trouble is None:
            return found
        return Unreadable(found.key, b"", found.split, uid=found.uid, reason=trouble)

    def missing(self) -> Iterator[Unreadable]:
        """What the parquet lists and the tar lacks."""
        try:
            for row in self.rows.rest() if self.rows else ():
                if row.get("status") == "success":
                    found = _example(f"{self.shard.name}/{row['key']}", {}, {}, row)
                    yield Unreadable(found.key, b"", found.split, uid=found.uid, reason="missing_member")
        except Exception:
            self._give_up_rows()

    def _trouble(
        self, sample: Sample, facts: dict[str, Any], row: dict[str, Any] | None, found: Example
    ) -> str | None:
        key = _digest(found.key)
        if key in self.keys:
            return "duplicate_key"
        self.keys.add(key)
        if not set(IMAGES) & set(sample.parts):
            return "no_image"
        if self.rows and row is None:
            return "no_row"
        row = row or {}
        if facts.get("uid") and row.get("uid") and facts["uid"] != row["uid"]:
            return "uid_differs"
        claimed = (row.get("sha256") or facts.get("sha256")) if self.sha256 and found.image else None
        if claimed and hashlib.sha256(found.image).hexdigest() != claimed:
            return "sha256_differs"
        return self._label_trouble(sample, found) or self._uid_trouble(found)

    def _label_trouble(self, sample: Sample, found: Example) -> str | None:
        if "cls" not in sample.parts:
            return None
        if is_url(self.shard.place) and not self.count:
            mend = "put classes.json, a list of their names, beside it"
            raise ParamsError(f"dataset.path: {self.shard.place} has labels; {mend}")
        if found.label is None:
            return "label_unreadable"
        return "label_out_of_range" if found.label >= self.count else None

    def _uid_trouble(self, found: Example) -> str | None:
        if found.uid is None or not found.image:
            return None
        image = _digest(found.image)
        return "uid_conflict" if self.uids.setdefault(_digest(found.uid), image) != image else None

    def _row(self, key: str) -> dict[str, Any] | None:
        try:
            return self.rows.take(key) if self.rows else None
        except Exception:
            self._give_up_rows()
            return None

    def _give_up_rows(self) -> None:
        self.rows = None
        name = self.shard.name + ".parquet"
        self.notes.append(Unreadable(name, b"", reason=f"unreadable_parquet_{name}"))


def label(parts: dict[str, bytes]) -> int | None:
    """The integer in a sample's KEY.cls; None if there is none."""
    text = parts.get("cls", b"").strip()
    return int(text) if text.isdigit() and len(text) <= LABEL_DIGITS else None


def _example(key: str, parts: dict[str, bytes], facts: dict[str, Any], row: dict[str, Any]) -> Example:
    split = splits.SPLITS.get(str(facts.get("split"))) or splits.by_hash(key)
    image = next((parts[ext] for ext in IMAGES if ext in parts), b"")
    texts = (parts.get("txt", b"").decode("utf-8", "replace"), facts.get("caption"), row.get("caption"))
    caption = next((clean for text in texts if (clean := _clean(text))), None)
    uid = next((clean for text in (facts.get("uid"), row.get("uid")) if (clean := _clean(text))), None)
    return Example(key, image, split, label(parts), caption, uid)


def _facts(parts: dict[str, bytes]) -> dict[str, Any]:
    try:
        facts = json.loads(parts.get("json", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _clean(text: Any) -> str:
    """Text that any table can hold; json may hold half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode("utf-8").strip() if isinstance(text, str) else ""


def _digest(data: bytes | str) -> int:
    data = data if isinstance(data, bytes) else data.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
