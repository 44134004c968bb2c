"""What a source holds, counted while its examples pass by."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from PIL import Image

from winnow.ingest.example import Example, Unreadable
from winnow.pool import images

SAMPLE = 1_000  # pictures whose size is read, the first of each split


@dataclass
class Part:
    """One split of a source: its readable examples, and those with a label or a caption."""

    count: int = 0
    labelled: int = 0
    captioned: int = 0
    classes: set[int] = field(default_factory=set)


@dataclass
class Contents:
    """A source's train and test split; `sides` are shorter sides in pixels, of the first pictures."""

    train: Part = field(default_factory=Part)
    test: Part = field(default_factory=Part)
    sides: list[int] = field(default_factory=list)

    def counting(self, examples: Iterable[Example]) -> Iterator[Example]:
        """The same examples, counted."""
        for example in examples:
            if not isinstance(example, Unreadable):
                self._add(example)
            yield example

    def _add(self, example: Example) -> None:
        part = self.test if example.split == "test" else self.train
        part.count += 1
        if example.label is not None and example.label >= 0:
            part.labelled += 1
            part.classes.add(example.label)
        part.captioned += bool(example.caption)
        if part.count <= SAMPLE and example.image and (side := _side(example.image)):
            self.sides.append(side)


def _side(data: bytes) -> int | None:
    """The shorter side by the header; None where there is none."""
    try:
        with Image.open(io.BytesIO(data), formats=images.FORMATS) as image:
            return min(image.size)
    except Exception:  # Pillow raises anything on hostile bytes
        return None
