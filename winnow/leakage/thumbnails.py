"""The pictures as the leak guard compares them: thumbnails of 1,152 bytes, whatever the size of the picture.

Decoding, scaling and the conversion of colours are whole-number arithmetic in libjpeg-turbo and Pillow, so
the bytes are the same on every machine, for one release of the libraries.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import numpy as np
from PIL import Image

from winnow.pool.images import decode_scaled
from winnow.pool.pool import Pool

LUMA_SIDE, CHROMA_SIDE = 32, 8
CHUNK = 256  # pictures that one thread decodes at a time


@dataclass(frozen=True)
class Thumbnails:
    """`luma` (n, 32, 32) and `chroma` (n, 2, 8, 8), Cb and Cr, uint8: the whole picture, its sides scaled
    apart.
    """

    luma: np.ndarray
    chroma: np.ndarray

    def __len__(self) -> int:
        return len(self.luma)

    def take(self, rows: np.ndarray | slice) -> "Thumbnails":
        """Those of these rows, in their order."""
        return Thumbnails(self.luma[rows], self.chroma[rows])

    def mirrored(self) -> "Thumbnails":
        """Left and right exchanged."""
        return Thumbnails(self.luma[..., ::-1], self.chroma[..., ::-1])

    @classmethod
    def empty(cls, count: int) -> Self:
        """Of `count` pictures that are not yet there."""
        luma = np.zeros((count, LUMA_SIDE, LUMA_SIDE), np.uint8)
        return cls(luma, np.zeros((count, 2, CHROMA_SIDE, CHROMA_SIDE), np.uint8))

    @classmethod
    def of(cls, images: list[Image.Image]) -> Self:
        """Of decoded images."""
        made = cls.empty(len(images))
        for row, image in enumerate(images):
            made.luma[row], made.chroma[row] = _shrink(image)
        return made

    @classmethod
    def joined(cls, parts: list["Thumbnails"]) -> Self:
        """One after the other."""
        return cls(np.concatenate([p.luma for p in parts]), np.concatenate([p.chroma for p in parts]))


def fingerprints(pool: Pool, rows: np.ndarray, threads: int = 2) -> Thumbnails:
    """The thumbnails of these rows of a pool, in their order; the same for any number of threads.

    A jpg is decoded at no more than the size that the thumbnail needs (`decode_scaled`).

    Raises:
        ValueError: if a shard is missing or ends early.
        OSError: if stored bytes are no image.
    """
    made = Thumbnails.empty(len(rows))

    def work(start: int) -> None:
        part = rows[start : start + CHUNK]
        pool.prefetch(part)
        for place, row in enumerate(part, start):
            image = Image.fromarray(decode_scaled(pool.read(int(row)), 2 * LUMA_SIDE))
            made.luma[place], made.chroma[place] = _shrink(image)

    with ThreadPoolExecutor(threads) as executor:
        list(executor.map(work, range(0, len(rows), CHUNK)))  # raises what a thread raised
    return made


def _shrink(image: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    small = image.convert("RGB").resize((LUMA_SIDE, LUMA_SIDE), Image.Resampling.BILINEAR).convert("YCbCr")
    chroma = np.asarray(small.resize((CHROMA_SIDE, CHROMA_SIDE), Image.Resampling.BOX))[..., 1:]
    return np.asarray(small)[..., 0], chroma.transpose(2, 0, 1)
