"""Encoded pictures for tests: `from tests.pictures import encode, noise, plain`."""

import io
from typing import Any

import numpy as np
from PIL import Image


def encode(image: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image, or of uint8 pixels, in one of Pillow's formats."""
    buffer = io.BytesIO()
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def noise(seed: int, size: tuple[int, int] = (20, 20), kind: str = "PNG", mode: str = "RGB") -> bytes:
    """A picture of uniform noise, `size` as (height, width); another seed is another picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels).convert(mode), kind)


def plain(grey: int, size: tuple[int, int] = (8, 8), kind: str = "PNG", mode: str = "L") -> bytes:
    """A picture of one grey level, `size` as (width, height)."""
    return encode(Image.new("L", size, grey).convert(mode), kind)


def smooth(mode: str = "RGB", size: tuple[int, int] = (24, 16)) -> Image.Image:
    """A smooth picture whose channels all differ, `size` as (width, height)."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    return Image.fromarray(np.stack([x, y, 255 - x], -1).astype(np.uint8)).convert(mode)
