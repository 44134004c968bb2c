"""Corruption for curation to find: documented, seeded, recorded damage to untrusted training examples.

A keyed hash of (seed, kind, key) alone decides what happens to an example, so no list of all examples is
needed and their order does not matter. The fractions are of all untrusted training examples; the caller
passes neither trusted nor test examples. Kinds, by the name that corruption.parquet gives them:

    noise             the image is replaced by uniform noise
    permuted          the image's own pixels in random order
    blank             the image is replaced by one random grey level
    wrong_label       the label moves to another class, uniformly, and a template caption with it; a free
                      caption is replaced by that of an example shortly before
    exact_duplicate   one more example with the same bytes, key KEY-copy
    near_duplicate    one more example, key KEY-near: moved by one or two pixels, brighter or darker, encoded
                      as jpg of quality 80, or its edge cut off and the rest stretched

Overlaps: an example has at most one kind of corruption. Junk (noise, permuted, blank) is drawn first and
keeps its label; wrong_label is drawn from the rest; copies are made of examples that stayed clean, and carry
their label and caption. Each draw is scaled so that the share of all untrusted examples is what the params
say, up to what the earlier kinds left over.
"""

import dataclasses
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageEnhance

from winnow.config.datasets import Corruption
from winnow.ingest.example import Example
from winnow.pool import uids
from winnow.pool.images import to_png

JUNK = ("noise", "permuted", "blank")
JPEG_QUALITY = 80


def trusted(key: str, fraction: float, seed: int) -> bool:
    """Whether a training example is set aside as trusted, before corruption: true for `fraction` of keys."""
    return uids.fraction(seed, "trusted", key) < fraction


def corrupt(
    example: Example,
    corruption: Corruption,
    classes: Sequence[str],
    seed: int,
    captions: Sequence[str] = (),
    other: str | None = None,
) -> list[tuple[Example, str | None]]:
    """The example as it enters the pool, then its copies, each with its corruption (None for clean).

    Args:
        example: its image must be standardised bytes.
        captions: the template caption of each class; empty where captions are free.
        other: a free caption of another example.
    """
    kind = _junk(example.key, corruption, seed)
    if kind:
        return [(_with_image(example, kind, seed), kind)]
    junk = sum(getattr(corruption, name) for name in JUNK)
    if _drawn(example.key, "wrong_label", seed, corruption.wrong_label, 1 - junk):
        wrong = _mislabelled(example, len(classes), seed, captions, other)
        return [(wrong, None if wrong == example else "wrong_label")]
    result: list[tuple[Example, str | None]] = [(example, None)]
    left = 1 - junk - corruption.wrong_label
    if _drawn(example.key, "exact_duplicate", seed, corruption.exact_duplicate, left):
        result.append((dataclasses.replace(example, key=f"{example.key}-copy"), "exact_duplicate"))
    if _drawn(example.key, "near_duplicate", seed, corruption.near_duplicate, left):
        copy = dataclasses.replace(example, key=f"{example.key}-near")
        result.append((_with_image(copy, "near_duplicate", seed), "near_duplicate"))
    return result


def _junk(key: str, corruption: Corruption, seed: int) -> str | None:
    draw = uids.fraction(seed, "junk", key)
    for kind in JUNK:
        draw -= getattr(corruption, kind)
        if draw < 0:
            return kind
    return None


def _drawn(key: str, kind: str, seed: int, share: float, left: float) -> bool:
    """True for `share` of all examples, though only the fraction `left` of them is drawn from."""
    return uids.fraction(seed, kind, key) * max(left, 0.0) < share


def _mislabelled(
    example: Example, count: int, seed: int, captions: Sequence[str], other: str | None
) -> Example:
    """The example with another label and caption; the same example if it has neither."""
    label, caption = example.label, example.caption
    if label is not None and count > 1:
        step = 1 + int(uids.fraction(seed, "other_class", example.key) * (count - 1))
        label = (label + step) % count
        caption = captions[label] if captions else caption
    if not captions and caption is not None and other is not None:
        caption = other
    return dataclasses.replace(example, label=label, caption=caption)


def _with_image(example: Example, kind: str, seed: int) -> Example:
    """The example with its image corrupted."""
    draw = np.random.default_rng(int(uids.fraction(seed, kind, "pixels", example.key) * 2**53))
    pixels = np.asarray(Image.open(io.BytesIO(example.image)))
    if kind == "near_duplicate":
        return dataclasses.replace(example, image=NEAR[draw.integers(len(NEAR))](pixels, draw))
    if kind == "noise":
        made = draw.integers(0, 256, pixels.shape, dtype=np.uint8)
    elif kind == "permuted":
        flat = pixels.reshape(pixels.shape[0] * pixels.shape[1], -1)
        made = draw.permutation(flat).reshape(pixels.shape)
    else:
        made = np.full(pixels.shape, draw.integers(256), np.uint8)
    return dataclasses.replace(example, image=to_png(Image.fromarray(made)))


def _moved(pixels: np.ndarray, draw: np.random.Generator) -> bytes:
    distance = int(draw.integers(1, 3))
    axis, forward = int(draw.integers(2)), bool(draw.integers(2))
    edges = [(0, 0)] * pixels.ndim
    edges[axis] = (distance, 0) if forward else (0, distance)
    padded = np.pad(pixels, edges, mode="edge")
    start = 0 if forward else distance
    return to_png(Image.fromarray(padded.take(np.arange(start, start + pixels.shape[axis]), axis)))


def _brightened(pixels: np.ndarray, draw: np.random.Generator) -> bytes:
    factor = 1 + draw.uniform(0.05, 0.15) * draw.choice((-1, 1))
    return to_png(ImageEnhance.Brightness(Image.fromarray(pixels)).enhance(factor))


def _jpeg(pixels: np.ndarray, draw: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _cropped(pixels: np.ndarray, draw: np.random.Generator) -> bytes:
    image = Image.fromarray(pixels)
    edge = max(1, round(min(image.size) / 28))
    left, top = (min(edge, (side - 1) // 2) for side in image.size)
    box = (left, top, image.width - left, image.height - top)
    return to_png(image.resize(image.size, Image.Resampling.BICUBIC, box))


NEAR: tuple[Callable[[np.ndarray, np.random.Generator], bytes], ...] = (_moved, _brightened, _jpeg, _cropped)
