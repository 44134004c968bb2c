"""WebDataset's samples: neighbouring members of a tar with one base name, each extension a part.

Source of the convention: WebDataset's README, "The WebDataset Format"; its `tariterators.py` (base_plus_ext,
group_by_keys).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from winnow.sources.formats import names, tar
from winnow.sources.formats.remote import Unreachable

IMAGES = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "ppm", "avif", "img")
TEXTS = ("cls", "txt", "json")
TEXT_BYTES = 1_000_000


@dataclass
class Sample:
    """Neighbouring members of one base name; `trouble` is the reason to drop them, if any."""

    key: str
    parts: dict[str, bytes] = field(default_factory=dict)
    trouble: str | None = None


def samples(file: BinaryIO, wanted: tuple[str, ...] = IMAGES + TEXTS) -> Iterator[Sample]:
    """Group neighbouring members by their base name.

    Args:
        wanted: the extensions to read; unwanted images come empty, other unwanted members are left out.

    Raises:
        Damaged, Unreachable: after everything that could be read.
    """
    sample: Sample | None = None
    try:
        for member in tar.members(file):
            key, ext = _parts(member.name)
            if sample is None or key != sample.key:
                if sample is not None:
                    yield sample
                sample = Sample(key)
            _add(sample, ext, member, wanted)
    except (tar.Damaged, Unreachable):
        if sample is not None and set(IMAGES) & set(sample.parts):
            yield sample
        raise
    if sample is not None:
        yield sample


def _add(sample: Sample, ext: str, member: tar.Member, wanted: tuple[str, ...]) -> None:
    if ext in sample.parts and ext not in IMAGES:
        trouble: str | None = "duplicate_member"
    elif ext in IMAGES and set(IMAGES) & set(sample.parts):
        trouble = "two_images"
    elif ext in TEXTS and member.size > TEXT_BYTES:
        trouble = "too_large_member"
    else:
        trouble = member.trouble
    sample.trouble = sample.trouble or trouble
    if trouble is None and (ext in wanted or ext in IMAGES):
        sample.parts[ext] = member.read() if ext in wanted else b""


def _parts(name: str) -> tuple[str, str]:
    folder, _, base = name.removeprefix("./").rpartition("/")
    stem, _, ext = base.partition(".")
    return names.text(f"{folder}/{stem}" if folder else stem), ext.lower()
