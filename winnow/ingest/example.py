"""An example as a source gives it (winnow/sources), before anything about it is checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Object:
    """One object in a picture, as an annotation gives it.

    `category` is an index into `classes(config)`; `box` is x, y, width and height in pixels from the upper
    left corner; `segmentation` is COCO's: polygons, a run-length encoding with `size` and `counts`, or None.
    `area` is in pixels; a `crowd` is a region of many objects, to be ignored. One of box and segmentation is
    enough; nothing is checked before ingest does (winnow/ingest/objects.py).
    """

    category: int
    box: Sequence[float] | None
    segmentation: Any = None
    area: float | None = None
    crowd: bool = False


@dataclass(frozen=True)
class MaskClasses:
    """`names` of the classes of a source's semantic masks, at most 254, and value in a mask -> place in
    `names`, or 255 for pixels that are not judged.
    """

    names: tuple[str, ...]
    values: Mapping[int, int]


@dataclass(frozen=True)
class Example:
    """One example of a source.

    `key` is unique and stable within the source; `image` holds encoded bytes; `split` is the source's own
    `train` or `test`; `label` is an index into `classes(config)`, None where there is no label; `uid` is the
    source's own name for the image, where it gives one (DataComp does), and says nothing about its bytes.
    `objects` are those in the picture: none at all in `()`, not annotated in None. `annotated_size` is the
    width and height that their coordinates refer to, where the annotation says so. `mask` holds the encoded
    bytes of a picture of class indices, by the source's `mask_classes(config)`; None where there is none
    (winnow/ingest/masks.py).
    """

    key: str
    image: bytes
    split: str = "train"
    label: int | None = None
    caption: str | None = None
    uid: str | None = None
    objects: tuple[Object, ...] | None = None
    annotated_size: tuple[int, int] | None = None
    mask: bytes | None = None


@dataclass(frozen=True)
class Unreadable(Example):
    """An example that exists but could not be read: ingest drops and counts it instead of missing it.

    `reason` is short and stable, fit for a table of counts.
    """

    reason: str = "unreadable"
