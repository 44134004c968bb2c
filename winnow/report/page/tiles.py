"""Pictures of examples on a page: a tile with the class name below it, framed where the example is corrupted.

Tiles are laid out by the page, so that they wrap on a narrow screen and their labels stay text. The caller
says what is corrupted; the card of a version must not know, and passes nothing.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from winnow.pool import uids
from winnow.pool.images import decode
from winnow.pool.pool import Pool

SIDE = 56  # pixels: small images are enlarged by a whole factor to at least this
LARGEST = 112  # pixels: large images are reduced to this


@dataclass(frozen=True)
class Tile:
    """One picture as a data URI, its (width, height) in CSS pixels, the class name, a second line of text,
    and the kind of corruption, None where it is clean.
    """

    image: str
    size: tuple[int, int]
    label: str
    note: str
    corruption: str | None = None


def tile(pool: Pool, row: int, note: str = "", corruption: str | None = None) -> Tile:
    """The tile of one row of the pool's index."""
    image = fit(decode(pool.read(row)))
    size = image.width * SIDE // max(image.size), image.height * SIDE // max(image.size)
    return Tile(data_uri(png(image)), size, class_name(pool, row), note, corruption)


def fit(image: Image.Image) -> Image.Image:
    """Enlarge (nearest) until the longer side is at least `SIDE`, or reduce (Lanczos) until it is at most
    `LARGEST`.
    """
    longest = max(image.size)
    if longest > LARGEST:
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        return image
    factor = -(-SIDE // longest)
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    """PNG bytes, of one channel where the image is grey: a third of the size."""
    pixels = np.asarray(image)
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def data_uri(data: bytes) -> str:
    """PNG bytes as a URI that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(data).decode("ascii")


def class_name(pool: Pool, row: int) -> str:
    """The class of a row by its label; empty where it has none."""
    label = pool.table["label"][row].as_py()
    if label is None or label < 0:
        return ""
    return pool.classes[label] if label < len(pool.classes) else f"class {label}"


def sample(rows: np.ndarray, keys: Sequence[str], count: int, *seed: object) -> list[int]:
    """At most `count` of the rows, drawn at random by the seed and each row's key, in the order of the draw.

    Args:
        rows: (n,) int.
        keys: of the n rows.
    """
    drawn = sorted((uids.fraction(*seed, key), row) for row, key in zip(rows.tolist(), keys, strict=True))
    return [row for _, row in drawn[:count]]
