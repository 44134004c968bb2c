"""Samples of what was segmented: images, their true classes and the predicted ones, with a legend."""

import colorsys
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw

from winnow.evaluation.intersection import VOID
from winnow.evaluation.mask_pictures import BACKGROUND, Masked

SHOWN = 6
CELL = 176  # pixels: an image's longer side
GAP, MARGIN, LINE = 6, 78, 18
TINT = 0.6  # of a class over the image in grey
INK = (40, 40, 40)
GOLDEN = 0.61803398875  # its multiples, of which only the fraction counts, are far from each other


def draw_masks(data: Masked, predictions: Mapping[str, Sequence[np.ndarray]]) -> Image.Image:
    """The first images in columns: as they are, with the truth, and with each way's prediction.

    Pixels that are not judged are hatched, in the truth alone. The legend names the classes that are seen.
    """
    count = min(SHOWN, len(data))
    images = [_picture(data, i) for i in range(count)]
    truths = [data.truth(i) for i in range(count)]
    rows = [("image", images)]
    for name, masks in [("truth", truths), *predictions.items()]:
        rows.append((name, [_tinted(*pair, data.classes) for pair in zip(images, masks, strict=False)]))
    seen = np.unique(
        np.concatenate([np.unique(mask) for masks in [truths, *predictions.values()] for mask in masks])
    )
    width = MARGIN + count * (CELL + GAP)
    legend = _legend([int(i) for i in seen if i != VOID], data.classes, VOID in seen, width)
    high = max(image.height for image in images)
    grid = Image.new("RGB", (width, len(rows) * (high + GAP) + legend.height), "white")
    for row, (name, pictures) in enumerate(rows):
        ImageDraw.Draw(grid).text((GAP, row * (high + GAP) + high // 2), name, fill=INK)
        for column, picture in enumerate(pictures):
            grid.paste(picture, (MARGIN + column * (CELL + GAP), row * (high + GAP)))
    grid.paste(legend, (0, len(rows) * (high + GAP)))
    return grid


def colour(place: int, classes: Sequence[str]) -> tuple[int, int, int]:
    """The colour of a class: hues a golden ratio apart, in three levels; grey of a background."""
    if classes[place] == BACKGROUND:
        return 150, 150, 150
    value = (1.0, 0.7, 0.85)[place % 3]
    red, green, blue = colorsys.hsv_to_rgb(place * GOLDEN % 1, 0.85 if place % 2 else 0.6, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def _picture(data: Masked, i: int) -> Image.Image:
    image = Image.fromarray(data.image(i).numpy().transpose(1, 2, 0))
    zoom = CELL / max(image.size)
    filter_ = Image.Resampling.NEAREST if data.fixed else Image.Resampling.LANCZOS
    return image.resize((max(1, round(image.width * zoom)), max(1, round(image.height * zoom))), filter_)


def _tinted(image: Image.Image, mask: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """The image in grey, each class in its colour; what is not judged is white with grey lines."""
    values = np.asarray(Image.fromarray(mask).resize(image.size, Image.Resampling.NEAREST))
    palette = np.array([*(colour(i, classes) for i in range(len(classes)))], np.float64)
    grey = np.asarray(image.convert("L"), np.float64)[..., None]
    judged = values != VOID
    mixed = (1 - TINT) * grey + TINT * palette[np.where(judged, values, 0)]
    rows, columns = np.indices(values.shape)
    hatched = np.where((rows + columns) % 8 < 1, 170.0, 250.0)[..., None]
    return Image.fromarray(np.where(judged[..., None], mixed, hatched).round().astype(np.uint8))


def _legend(seen: list[int], classes: Sequence[str], void: bool, width: int) -> Image.Image:
    """A square and a name for each class, in lines."""
    named = [(classes[i], colour(i, classes)) for i in seen]
    named += [("not judged (hatched)", (250, 250, 250))] if void else []
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    places, x, y = [], GAP, GAP
    for name, _ in named:
        wide = 20 + round(pen.textlength(name)) + 2 * GAP
        if x + wide > width and x > GAP:
            x, y = GAP, y + LINE
        places.append((x, y))
        x += wide
    legend = Image.new("RGB", (width, y + LINE), "white")
    pen = ImageDraw.Draw(legend)
    for (x, y), (name, fill) in zip(places, named, strict=True):
        pen.rectangle((x, y, x + 12, y + 12), fill=fill, outline=INK)
        pen.text((x + 18, y), name, fill=INK)
    return legend
