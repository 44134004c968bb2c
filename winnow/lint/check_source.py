"""`winnow lint` on a source, read as `ingest` reads it, so that each reason is one that ingest would count.

By default images are judged by their headers, those in shards not at all; `full` decodes every one. Names and
uids are compared as 64-bit hashes, `MOST` of them.
"""

import io
from collections.abc import Iterator

from PIL import Image

from winnow.config.datasets import Dataset
from winnow.config.plugins import load_plugin
from winnow.ingest.example import Example, Unreadable
from winnow.lint.contents import Contents
from winnow.lint.report import MOST, Once, Report
from winnow.pool import images
from winnow.sources import webdataset
from winnow.sources.formats.samples import TEXTS


def check_source(path: str, dataset: Dataset, full: bool, contents: Contents | None = None) -> Report:
    """Check every example of a source; `path` is what the user gave. What the source holds is added up in
    `contents`.
    """
    how = "" if full else ", by headers; --full decodes every image"
    report = Report(f"{path}: read as dataset.source {dataset.source}{how}")
    by_shards = dataset.source == "webdataset" and not full
    if by_shards:
        examples = _without_images(dataset)
    else:
        examples = load_plugin("winnow.sources", str(dataset.source)).read(dataset)
    keys, uids = Once(), Once()
    for example in (contents or Contents()).counting(examples):
        reason = _reason(example, dataset.max_pixels, full, judge=not by_shards)
        if reason is None and keys.differs(example.key, b"") is not None:
            reason = "duplicate_key"
        if reason is None and example.uid and example.image and uids.differs(example.uid, example.image):
            reason = "uid_conflict"
        if reason is None:
            report.good += 1
        else:
            report.add(reason, example.key)
    if keys.full or uids.full:
        report.notes.append(f"only the first {MOST:,} keys and uids were compared")
    return report


def _without_images(dataset: Dataset) -> Iterator[Example]:
    """The examples of shards, of which only the headers and the texts are read."""
    count = len(webdataset.classes(dataset))
    for shard in webdataset.shards(dataset):
        yield from webdataset.read_shard(dataset, shard, count, TEXTS)


def _reason(example: Example, max_pixels: int, full: bool, judge: bool) -> str | None:
    """Why ingest would drop the example, None if it would not, as far as the bytes are there to judge."""
    if isinstance(example, Unreadable):
        return example.reason
    return _of_image(example.image, max_pixels, full) if judge else None


def _of_image(data: bytes, max_pixels: int, full: bool) -> str | None:
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
