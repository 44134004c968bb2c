"""Semantic masks, checked and brought to the stored picture and to places in the list of classes.

A mask is a picture of class indices: 8- or 16-bit grey, or a palette, whose index counts and whose colours do
not. Its size is judged as that of annotated objects is (winnow/ingest/objects.py): turned with the picture,
or scaled, to the nearest pixel, where it has the picture's shape. A mask that cannot be used is dropped with
its reason, and the picture stays, without one:

    unreadable      no picture, or a file that is not there
    colours         RGB: an index is lost in it
    unknown_class   a value that the classes of the source do not name
    other_size      of another shape than the picture
    void_only       no pixel of a class: there is nothing to learn from it, and nothing to judge
"""

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from winnow.ingest.example import Example, MaskClasses
from winnow.ingest.objects import frame_of, moved
from winnow.pool.images import StoredImage, to_png
from winnow.pool.masks import VOID

INDEXED = ("L", "P", "1")
DEEP = ("I;16", "I;16B", "I;16L", "I")
DROPPED = "masks_dropped_"
UNKNOWN = VOID - 1  # of the look-up: a mask has at most 254 classes, so that this is no place


class UnusableMask(Exception):
    """A mask that is dropped; `reason` is short and stable."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def with_mask(
    example: Example, file: bytes, stored: StoredImage, classes: MaskClasses | None
) -> tuple[Example, Counter[str]]:
    """The example with its mask as the pool keeps it (winnow/pool/masks.py), and counts of what became of it.

    Args:
        file: the image bytes as the source gave them.
        classes: None where the source has no masks.
    """
    if classes is None:
        return replace(example, mask=None), Counter()
    if example.mask is None:
        return example, Counter(pictures_without_mask=1)
    try:
        mask = _placed(example.mask, file, stored, classes)
    except UnusableMask as unusable:
        return replace(example, mask=None), Counter({DROPPED + unusable.reason: 1})
    return replace(example, mask=to_png(Image.fromarray(mask))), Counter(masks=1)


def masks_line(counts: Mapping[str, int]) -> str | None:
    """What became of the masks in one line; None if there are none."""
    dropped = [f"{n:,} {name.removeprefix(DROPPED)}" for name, n in sorted(counts.items()) if DROPPED in name]
    if not counts.get("masks") and not dropped:
        return None
    without = f", {n:,} pictures without one" if (n := counts.get("pictures_without_mask", 0)) else ""
    lost = f"; dropped {', '.join(dropped)}" if dropped else ""
    return f"{counts.get('masks', 0):,} masks{without}{lost}"


def _placed(data: bytes, file: bytes, stored: StoredImage, classes: MaskClasses) -> np.ndarray:
    """The places in the list of classes, uint8 (height, width) of the stored picture."""
    values = _values(data)
    table = np.full(1 << 16, UNKNOWN, np.uint8)
    table[list(classes.values)] = list(classes.values.values())
    found = table[values]
    if (found == UNKNOWN).any():
        raise UnusableMask("unknown_class")
    frame = frame_of((values.shape[1], values.shape[0]), file, stored)
    if frame is None:
        raise UnusableMask("other_size")
    if (found == VOID).all():
        raise UnusableMask("void_only")
    return np.ascontiguousarray(moved(found, frame))


def _values(data: bytes) -> np.ndarray:
    """The values of a mask, int64 (height, width), each below 65,536."""
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "BMP", "TIFF", "GIF"))
        image.load()
        mode, values = image.mode, np.asarray(image)
    except Exception:  # on hostile bytes decoders raise anything
        raise UnusableMask("unreadable") from None
    if mode not in INDEXED + DEEP:
        raise UnusableMask("colours")
    whole = values.astype(np.int64)
    if ((whole < 0) | (whole >= 1 << 16)).any():
        raise UnusableMask("unknown_class")
    return whole
