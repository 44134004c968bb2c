"""What may happen to a picture on its way into another dataset, made on purpose, to see what the guard finds.

Each alteration gives the picture as it would lie among the others, and as it would be held out: for most that
is the picture itself. All of it is whole-number arithmetic or in a fixed order: the same on every machine.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

Pair = tuple[Image.Image, Image.Image]
BILINEAR, BICUBIC = Image.Resampling.BILINEAR, Image.Resampling.BICUBIC


def crop(image: Image.Image, rng: np.random.Generator) -> Pair:
    """A window of 50 to 90 % of the area, of up to 10 % another shape, at the size of the whole."""
    return _crop(image, rng, 0.5), image


def shift(image: Image.Image, rng: np.random.Generator) -> Pair:
    """Two windows of 85 % of the sides, each anywhere: up to 18 % of a side apart."""
    first, second = (
        _window(image, x, y, 0.85, 0.85) for x, y in (rng.uniform(0, 0.15, 2), rng.uniform(0, 0.15, 2))
    )
    return first, second


def reencode(image: Image.Image, rng: np.random.Generator) -> Pair:
    """A jpg of quality 30 to 60."""
    return _jpg(image, int(rng.integers(30, 61))), image


def colour(image: Image.Image, rng: np.random.Generator) -> Pair:
    """Contrast, brightness and saturation changed by up to 40 %, each channel's gain by up to 15 %."""
    return _colour(image, rng, 0.4), image


def grey(image: Image.Image, rng: np.random.Generator) -> Pair:
    """Without colour."""
    return image.convert("L").convert("RGB"), image


def resize(image: Image.Image, rng: np.random.Generator) -> Pair:
    """To half the size, and another shape by up to 15 % of each side."""
    width, height = (max(8, int(side * rng.uniform(0.425, 0.575))) for side in image.size)
    return image.resize((width, height), BICUBIC), image


def flip(image: Image.Image, rng: np.random.Generator) -> Pair:
    """The mirror image."""
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), image


def burst(image: Image.Image, rng: np.random.Generator) -> Pair:
    """Another shot at once: the camera turned by up to 4 degrees and moved by up to 4 % of a side, 4 % nearer
    or farther, other noise.
    """
    half = rng.uniform(-0.035, 0.035)  # the tangent of half the angle
    cosine, sine = (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)
    zoom = rng.uniform(0.96, 1.04)
    width, height = image.size
    x, y = (rng.uniform(-0.04, 0.04) * side for side in image.size)
    a, b = zoom * cosine, -zoom * sine
    matrix = (
        (a, b, width / 2 * (1 - a) - height / 2 * b + x),
        (-b, a, height / 2 * (1 - a) + width / 2 * b + y),
    )
    inner = _window(image.transform(image.size, Image.Transform.AFFINE, sum(matrix, ()), BILINEAR), *_INNER)
    noise = rng.integers(-6, 7, (inner.height, inner.width, 3))
    return _image(np.asarray(inner) + noise), _window(image, *_INNER)


def combined(image: Image.Image, rng: np.random.Generator) -> Pair:
    """A window of 60 to 90 % of the area, every second one mirrored, colours changed by up to 25 %, a jpg of
    quality 40 to 80.
    """
    part = _crop(image, rng, 0.6)
    if rng.random() < 0.5:
        part = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _jpg(_colour(part, rng, 0.25), int(rng.integers(40, 81))), image


ALTERATIONS: dict[str, Callable[[Image.Image, np.random.Generator], Pair]] = {
    each.__name__: each for each in (crop, shift, reencode, colour, grey, resize, flip, burst, combined)
}

_INNER = (0.1, 0.1, 0.8, 0.8)  # of a burst: what both shots show, so that no border is made up


def _window(image: Image.Image, x: float, y: float, wide: float, high: float) -> Image.Image:
    """Left, top, width and height in parts of the sides; at the size of the whole."""
    width, height = image.size
    box = (x * width, y * height, min(x + wide, 1) * width, min(y + high, 1) * height)
    return image.resize(image.size, BICUBIC, box)


def _crop(image: Image.Image, rng: np.random.Generator, least: float) -> Image.Image:
    side = float(np.sqrt(rng.uniform(least, 0.9)))
    shape = rng.uniform(0.95, 1.05)
    wide, high = min(side * shape, 1.0), min(side / shape, 1.0)
    return _window(image, rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high), wide, high)


def _jpg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    buffer.seek(0)
    return Image.open(buffer).convert("RGB")


def _colour(image: Image.Image, rng: np.random.Generator, most: float) -> Image.Image:
    brightness, contrast, saturation = rng.uniform(1 - most, 1 + most, 3)
    pixels = np.asarray(image).astype(np.float64) * brightness
    middle = np.rint(pixels).astype(np.int64).sum() / pixels.size
    pixels = (pixels - middle) * contrast + middle
    light = (pixels[..., :1] * 0.299 + pixels[..., 1:2] * 0.587) + pixels[..., 2:] * 0.114
    return _image(np.rint((light + (pixels - light) * saturation) * rng.uniform(0.85, 1.15, 3)))


def _image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
