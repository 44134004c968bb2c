"""Annotated objects, checked and brought to the coordinates of the stored picture.

Which picture an annotation was drawn on is decided by the size that it names (`Example.annotated_size`):

    that of the stored picture    as it is; so also where no size is named
    that of the file before its   turned with the picture. Where both have one size (a half turn, a mirror, a
    EXIF orientation was applied  square) the annotation is taken to be upright, as viewers show the picture
    another one, of equal shape   scaled: the picture was resized after it was annotated
    any other                     all objects are dropped, and the picture counts as not annotated

A box that reaches out of the picture by more than `SLACK` pixels is clipped to it, its mask and area
unchanged. Dropped are objects whose numbers are `malformed` (a box that is not four finite numbers, a
segmentation that is none), whose box is `degenerate` (no width or height), or which lie `outside` the
picture. An object without a box gets that of its mask.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from winnow.ingest.example import Example, Object
from winnow.pool import images
from winnow.pool.images import StoredImage

SLACK = 1.0  # COCO's own boxes exceed their pictures by fractions of a pixel
# EXIF orientation -> swap the axes, then mirror x, then mirror y (as PIL.ImageOps.exif_transpose).
TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
PICTURES = ("pictures_annotated", "pictures_without_objects")
UPRIGHT = (False, False, False)


@dataclass(frozen=True)
class Frame:
    """From an annotated picture of `size` (width, height) to the stored one: `turn`, then `scale` x and y."""

    size: tuple[int, int]
    turn: tuple[bool, bool, bool] = UPRIGHT
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def stored(self) -> tuple[int, int]:
        """Width and height of the stored picture."""
        width, height = self.size[::-1] if self.turn[0] else self.size
        return round(width * self.scale[0]), round(height * self.scale[1])


def with_objects(example: Example, file: bytes, stored: StoredImage) -> tuple[Example, Counter[str]]:
    """The example with its objects in the coordinates of what is stored, and counts of what became of them.

    Args:
        file: the image bytes as the source gave them.

    Returns:
        Segmentations are then the counts of a run-length encoding, or None; every box and area is there.
    """
    if example.objects is None:
        return example, Counter()
    frame = frame_of(example.annotated_size, file, stored)
    if frame is None:
        reason = Counter({"objects_dropped_other_size": len(example.objects), "pictures_of_other_size": 1})
        return replace(example, objects=None), reason
    counts: Counter[str] = Counter()
    placed = [_placed(thing, frame, counts) for thing in example.objects]
    kept = tuple(thing for thing in placed if thing is not None)
    counts["objects_clipped"] += 0
    counts.update(objects=len(kept), pictures_annotated=1, pictures_without_objects=int(not kept))
    return replace(example, objects=kept), counts


def objects_line(counts: Mapping[str, int]) -> str | None:
    """What became of the annotations in one line; None if there are none."""
    if not counts.get("pictures_annotated") and not counts.get("pictures_of_other_size"):
        return None
    prefix = "objects_dropped_"
    dropped = [f"{n:,} {name.removeprefix(prefix)}" for name, n in sorted(counts.items()) if prefix in name]
    lost = f"; dropped {', '.join(dropped)}" if dropped else ""
    clipped = f", {n:,} of them clipped to the picture" if (n := counts.get("objects_clipped", 0)) else ""
    objects, pictures, empty = (counts.get(name, 0) for name in ("objects", *PICTURES))
    return f"{objects:,} objects in {pictures:,} pictures, {empty:,} without any{clipped}{lost}"


def frame_of(named: tuple[int, int] | None, file: bytes, stored: StoredImage) -> Frame | None:
    """From a picture of the size that an annotation names, if any, to the stored one; None for others."""
    upright = stored.width, stored.height
    if named is None or named == upright:
        return Frame(upright)
    if "orientation" in (stored.converted or ""):
        orientation, raw = images.orientation(file)
        if named == raw:
            return Frame(raw, TURNS[orientation])
    scale = upright[0] / max(1, named[0]), upright[1] / max(1, named[1])
    # Equal shape: scaling by one side gives the other to a pixel.
    alike = abs(named[1] * scale[0] - upright[1]) <= 1 or abs(named[0] * scale[1] - upright[0]) <= 1
    return Frame(named, scale=scale) if min(named) > 0 and alike else None


def _placed(thing: Object, frame: Frame, counts: Counter[str]) -> Object | None:
    """The object in the stored picture; None and a count if it must be dropped."""
    try:
        mask = None if not thing.segmentation else _mask(thing.segmentation, frame)
        box = _box_of(mask) if thing.box is None and mask is not None else _box(thing.box, frame)
        given = None if thing.area is None else float(thing.area) * frame.scale[0] * frame.scale[1]
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, OverflowError):
        counts["objects_dropped_malformed"] += 1
        return None
    if box[2] <= 0 or box[3] <= 0:
        counts["objects_dropped_degenerate"] += 1
        return None
    inside = _clipped(box, frame.stored)
    if inside is None:
        counts["objects_dropped_outside"] += 1
        return None
    counts["objects_clipped"] += inside != box
    area = given if given is not None and np.isfinite(given) else _area(inside, mask)
    return replace(thing, box=inside, area=area, segmentation=None if mask is None else mask["counts"])


def _box(values: Sequence[float] | None, frame: Frame) -> tuple[float, float, float, float]:
    """x, y, width and height in the stored picture; a ValueError or TypeError if they are no numbers."""
    x, y, width, height = (float(value) for value in values or ())
    if not np.isfinite([x, y, width, height]).all():
        raise ValueError("not finite")
    sides, (swap, mirror_x, mirror_y) = frame.size, frame.turn
    if swap:
        x, y, width, height, sides = y, x, height, width, sides[::-1]
    x = sides[0] - x - width if mirror_x else x
    y = sides[1] - y - height if mirror_y else y
    (wide, high) = frame.scale
    return x * wide, y * high, width * wide, height * high


def _clipped(box: tuple[float, ...], size: tuple[int, int]) -> tuple[float, ...] | None:
    """The part of a box within a picture of `size`, the same box if it exceeds it by `SLACK` at most."""
    x, y, width, height = box
    left, top = max(x, 0.0), max(y, 0.0)
    right, bottom = min(x + width, float(size[0])), min(y + height, float(size[1]))
    if right <= left or bottom <= top:
        return None
    over = max(left - x, top - y, x + width - right, y + height - bottom)
    return box if over <= SLACK else (left, top, right - left, bottom - top)


def _mask(segmentation: Any, frame: Frame) -> dict[str, Any]:
    """A compressed run-length encoding in the stored picture; raises if the segmentation is none."""
    from faster_coco_eval.core import mask as rle  # here, because only annotated sources need it

    width, height = frame.size
    if isinstance(segmentation, list):
        scaled = [_polygon(polygon, frame.scale) for polygon in segmentation]
        width, height = _sized(frame)
        found = rle.merge(rle.frPyObjects(scaled, height, width))
    else:
        if list(segmentation["size"]) != [height, width]:
            raise ValueError("of another size")
        plain = isinstance(segmentation["counts"], list)
        found = rle.frPyObjects(segmentation, height, width) if plain else dict(segmentation)
    pixels = rle.decode(found)  # raises if the counts do not fit the size
    if frame.turn != UPRIGHT or pixels.shape != frame.stored[::-1]:
        found = rle.encode(np.asfortranarray(moved(pixels, frame)))
    counts = found["counts"]
    size = list(frame.stored[::-1])
    return {"size": size, "counts": counts.decode() if isinstance(counts, bytes) else counts}


def _polygon(polygon: Any, scale: tuple[float, float]) -> list[float]:
    points = np.array(polygon, np.float64)
    if points.ndim != 1 or len(points) < 6 or len(points) % 2 or not np.isfinite(points).all():
        raise ValueError("not a polygon")
    # Beyond this pixels are counted one by one; no picture has coordinates so large.
    scaled: list[float] = (points.reshape(-1, 2) * scale).clip(-1e5, 1e5).ravel().tolist()
    return scaled


def _sized(frame: Frame) -> tuple[int, int]:
    """Width and height of the scaled picture before it is turned."""
    return frame.stored[::-1] if frame.turn[0] else frame.stored


def moved(pixels: np.ndarray, frame: Frame) -> np.ndarray:
    """A mask (height, width) turned, and resized to the nearest pixels."""
    swap, mirror_x, mirror_y = frame.turn
    pixels = pixels.T if swap else pixels
    pixels = pixels[:: -1 if mirror_y else 1, :: -1 if mirror_x else 1]
    width, height = frame.stored
    rows = (np.arange(height) + 0.5) * pixels.shape[0] // height
    columns = (np.arange(width) + 0.5) * pixels.shape[1] // width
    return pixels[rows.astype(int)[:, None], columns.astype(int)]


def _box_of(mask: dict[str, Any]) -> tuple[float, ...]:
    from faster_coco_eval.core import mask as rle

    return tuple(float(value) for value in rle.toBbox(mask))


def _area(box: tuple[float, ...], mask: dict[str, Any] | None) -> float:
    from faster_coco_eval.core import mask as rle

    return box[2] * box[3] if mask is None else float(rle.area(mask))
