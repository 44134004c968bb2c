"""What a segmenter is trained and tested on: composed scenes, or a set's own pictures with masks.

Both have the class of each pixel, `VOID` where it is not judged. Scenes are all of one size and come as they
are. A picture is resized (winnow/evaluation/stored_pictures.py), its mask with it, to the nearest pixels; for
training a random square of the shorter side is cut, padded where the longer side's bound made that smaller,
with black and `VOID`. It is tested whole, and judged at its stored size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Generator, Tensor

from winnow.evaluation import scenes
from winnow.evaluation.intersection import VOID
from winnow.evaluation.scenes import Scenes
from winnow.evaluation.stored_pictures import StoredPictures
from winnow.pool.masks import Masks
from winnow.pool.pool import Pool

BACKGROUND = "background"


class Masked(Protocol):
    """Images with the class of each pixel. `fixed`: an image is the same each time it is trained on."""

    fixed: bool

    @property
    def classes(self) -> Sequence[str]: ...

    @property
    def uids(self) -> Sequence[str]: ...

    def __len__(self) -> int: ...

    def batch(self, chosen: Sequence[int], draw: Generator) -> tuple[Tensor, Tensor]:
        """Images uint8 (B, 3, S, S) to train on, and their classes int64 (B, S, S)."""

    def image(self, i: int) -> Tensor:
        """Image i to test on, uint8 (3, h, w)."""

    def truth(self, i: int) -> np.ndarray:
        """The classes of image i, uint8 (H, W), at the size at which it is judged."""


class MaskedScenes:
    """Composed scenes: class 0 is the background, then those of the set."""

    fixed = True

    def __init__(self, data: Scenes) -> None:
        self.images = torch.from_numpy(data.images)
        self.classes = [BACKGROUND, *(one["name"] for one in data.coco["categories"])]
        self.uids = [f"scene-{i:06d}" for i in range(len(data))]
        self.masks = semantic(data)

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, chosen: Sequence[int], draw: Generator) -> tuple[Tensor, Tensor]:
        """As `Masked`."""
        return self.images[list(chosen)], torch.from_numpy(self.masks[list(chosen)]).long()

    def image(self, i: int) -> Tensor:
        """As `Masked`."""
        return self.images[i]

    def truth(self, i: int) -> np.ndarray:
        """As `Masked`."""
        return np.asarray(self.masks[i])


@dataclass(frozen=True)
class MaskPictures(StoredPictures):
    """The pictures at these rows (n,) of a pool, each with a mask."""

    pool: Pool
    masks: Masks
    rows: np.ndarray
    sides: tuple[int, int]
    flip: float = 0.0
    fast: bool = False
    fixed = False

    @property
    def classes(self) -> Sequence[str]:
        """As `Masked`."""
        return self.masks.classes

    @cached_property
    def uids(self) -> Sequence[str]:
        """As `Masked`."""
        return [self.pool.index.uid(int(row)) for row in self.rows]

    def batch(self, chosen: Sequence[int], draw: Generator) -> tuple[Tensor, Tensor]:
        """As `Masked`; each is mirrored with probability `flip`."""
        pairs = [self._cut(i, draw) for i in chosen]
        images, masks = (torch.stack([pair[part] for pair in pairs]) for part in (0, 1))
        return images, masks.long()

    def truth(self, i: int) -> np.ndarray:
        """As `Masked`, at the stored size."""
        return self.masks.read(self.pool, int(self.rows[i]))

    def _cut(self, i: int, draw: Generator) -> tuple[Tensor, Tensor]:
        side, (height, width) = self.sides[0], self.resized(i)
        mask = Image.fromarray(self.truth(i)).resize((width, height), Image.Resampling.NEAREST)
        image, classes = self.image(i), torch.from_numpy(np.array(mask))
        below, right = max(0, side - height), max(0, side - width)
        image = F.pad(image, (0, right, 0, below))
        classes = F.pad(classes, (0, right, 0, below), value=VOID)
        room = torch.tensor([max(height, side) - side, max(width, side) - side])
        top, left = (torch.rand(2, generator=draw) * (room + 1)).long().tolist()
        window = slice(top, top + side), slice(left, left + side)
        image, classes = image[:, *window], classes[window]
        if float(torch.rand(1, generator=draw)) < self.flip:
            image, classes = image.flip(-1), classes.flip(-1)
        return image, classes


def semantic(data: Scenes) -> np.ndarray:
    """The class of each pixel of scenes, uint8 (n, S, S): 0 the background, else the category's id."""
    found = np.zeros((len(data), *data.images.shape[-2:]), np.uint8)
    for one in data.coco["annotations"]:
        found[one["image_id"] - 1][scenes.decode(one["segmentation"])] = one["category_id"]
    return found
