"""Pictures of a pool at the size that a dense task trains at: read from the shards, checked, resized.

A picture is resized (bilinear, antialiased) so that its shorter side is `sides[0]`, or its longer side
`sides[1]` where that would be exceeded.
"""

from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from winnow.pool import uids
from winnow.pool.images import decode, decode_scaled
from winnow.pool.pool import MEND, Pool


class StoredPictures:
    """The pictures at these rows (n,) of a pool; `fast` lets the decoder scale jpgs down, to slightly other
    pixels (winnow/pool/images.py).
    """

    pool: Pool
    rows: np.ndarray
    sides: tuple[int, int]
    fast: bool

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of each stored picture."""
        height, width = (self.pool.column(name, self.rows).to_pylist() for name in ("height", "width"))
        return list(zip(height, width, strict=True))

    def resized(self, i: int) -> tuple[int, int]:
        """Height and width at which picture i is trained on."""
        height, width = self.sizes[i]
        scale = min(self.sides[0] / min(height, width), self.sides[1] / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def image(self, i: int) -> Tensor:
        """Picture i resized, uint8 (3, h, w).

        Raises:
            ValueError: if its bytes are gone, were altered, or do not decode.
        """
        return torch.from_numpy(_resized(self.stored(i, least=min(self.resized(i))), self.resized(i)))

    def stored(self, i: int, least: int | None = None) -> Image.Image:
        """Picture i as it is stored; with `fast` perhaps smaller, its sides at least `least`.

        Raises:
            ValueError: as `image`.
        """
        row = int(self.rows[i])
        data, uid = self.pool.read(row), self.pool.index.uid(row)
        if uids.of(data) != uid:
            raise ValueError(f"{self.pool.folder}: uid {uid}: its bytes were altered; {MEND}")
        try:
            return Image.fromarray(decode_scaled(data, least)) if self.fast and least else decode(data)
        except OSError as error:
            raise ValueError(f"{self.pool.folder}: uid {uid} does not decode ({error}); {MEND}") from None


def _resized(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """uint8 (3, h, w), contiguous."""
    if image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(image).transpose(2, 0, 1).copy()
