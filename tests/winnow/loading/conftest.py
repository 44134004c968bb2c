"""A pool of smooth pictures, and how it is damaged."""

import numpy as np
import pytest

from tests.pictures import encode
from winnow.ingest import writer
from winnow.ingest.example import Example
from winnow.pool.pool import Pool

COUNT = 60


@pytest.fixture(scope="session")
def picture():
    """A function: an encoded picture of waves of a few periods in each channel, smooth like a photograph."""

    def make(number, size=(40, 32), kind="PNG", mode="RGB"):
        draw = np.random.default_rng(number)
        y, x = np.mgrid[: size[1], : size[0]] / 32
        waves = [
            np.sin(x * draw.uniform(2, 9) + y * draw.uniform(2, 9) + draw.uniform(0, 6)) for _ in range(3)
        ]
        pixels = np.uint8(127 + 120 * np.stack(waves, -1))
        pixels = pixels[..., 0] if mode == "L" else pixels
        return encode(pixels, kind, quality=90)

    return make


@pytest.fixture
def stored(tmp_path, monkeypatch, picture, write):
    """A pool of 60 pictures in shards of 20, labels 0 to 59, jpg and png in turn."""
    monkeypatch.setattr(writer, "MAX_COUNT", 20)
    kinds = ("JPEG", "PNG")
    examples = [Example(str(i), picture(i, kind=kinds[i % 2]), label=i) for i in range(COUNT)]
    return write(tmp_path / "pool", examples)


@pytest.fixture(scope="session")
def damage():
    """A function: flip one byte in the middle of each of these images, in the tar itself."""

    def flip(opened: Pool, *rows: int) -> None:
        for row in rows:
            path = opened.folder / f"shards/shards-{opened.index.shard[row]:06d}.tar"
            content = bytearray(path.read_bytes())
            content[opened.index.offset[row] + opened.index.size[row] // 2] ^= 0xFF
            path.write_bytes(content)

    return flip
