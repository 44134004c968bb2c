"""Pictures of examples as a page holds them: a tile with the class name below, and a frame that names the dirt, if it is told of any.

The page lays tiles out, so that they wrap on a narrow screen and their labels stay text. What is dirt is the caller's knowledge: the
card of a version, which may not know it, hands in none.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from stages.data import uids
from stages.data.images import decode
from stages.data.pool import Pool

SIDE = 56  # pixels: small images are enlarged by a whole number to at least this
LARGEST = 112  # pixels: large images are reduced to this


@dataclass(frozen=True)
class Tile:
    """One picture as a data URI, (width, height) in CSS pixels, the class name, a second line, and the kind of dirt or None."""

    image: str
    size: tuple[int, int]
    label: str
    note: str
    dirt: str | None = None


def tile(pool: Pool, row: int, note: str = "", dirt: str | None = None) -> Tile:
    """The tile of one row of the pool's index."""
    image = fit(decode(pool.read(row)))
    size = image.width * SIDE // max(image.size), image.height * SIDE // max(image.size)
    return Tile(data_uri(png(image)), size, class_name(pool, row), note, dirt)


def fit(image: Image.Image) -> Image.Image:
    """Enlarge (nearest) until the longer side is at least `SIDE`, or reduce (Lanczos) until it is at most `LARGEST`."""
    longest = max(image.size)
    if longest > LARGEST:
        image.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
        return image
    factor = -(-SIDE // longest)
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    """PNG bytes; grey images take a third of the space."""
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
    """The class of a row as its label has it, or an empty text."""
    label = pool.table["label"][row].as_py()
    if label is None or label < 0:
        return ""
    return pool.classes[label] if label < len(pool.classes) else f"class {label}"


def sample(rows: np.ndarray, keys: Sequence[str], count: int, *seed: object) -> list[int]:
    """`count` of the rows by a draw from the seed and each row's key, in the order of the draw; rows (n,) and n keys."""
    drawn = sorted((uids.fraction(*seed, key), row) for row, key in zip(rows.tolist(), keys, strict=True))
    return [row for _, row in drawn[:count]]
