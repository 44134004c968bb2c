"""Samples of what was detected: scenes and pictures with their true and detected boxes, masks and classes."""

import colorsys
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from winnow.evaluation import scenes
from winnow.evaluation.pictures import Pictures
from winnow.evaluation.scenes import Scenes

SHOWN = 8
SHOWN_PIXELS = 192
GAP = 4
CELL = (320, 240)  # pixels of a picture, at most
HEADING = 16
LEAST_SCORE = 0.3  # of a detection beyond as many as there are true objects
Found = list[dict[str, Any]]


def draw_samples(data: Scenes, found: Found) -> Image.Image:
    """The first scenes: with their true objects above, and with as many of the best detections below."""
    pairs = []
    for number in range(1, min(SHOWN, len(data)) + 1):
        truth = [a for a in data.coco["annotations"] if a["image_id"] == number]
        ranked = sorted((a for a in found if a["image_id"] == number), key=lambda a: -a["score"])
        image, categories = data.images[number - 1], data.coco["categories"]
        pairs.append([_draw(image, objects, categories) for objects in (truth, ranked[: len(truth)])])
    side = pairs[0][0].width
    grid = Image.new("RGB", ((side + GAP) * len(pairs) - GAP, 2 * side + GAP), "white")
    for column, pair in enumerate(pairs):
        for row, picture in enumerate(pair):
            grid.paste(picture, (column * (side + GAP), row * (side + GAP)))
    return grid


def draw_pictures(data: Pictures, found: Found) -> Image.Image:
    """The first pictures with objects: the true ones on the left, what was detected beside them.

    Of the detections the best are shown, as many as there are true objects, and all above `LEAST_SCORE`.
    """
    truth: dict[int, Found] = {}
    for annotation in data.coco["annotations"]:
        truth.setdefault(annotation["image_id"], []).append(annotation)
    pairs = []
    for number in sorted(truth)[:SHOWN]:
        ranked = sorted((a for a in found if a["image_id"] == number), key=lambda a: -a["score"])
        best = [a for k, a in enumerate(ranked) if k < len(truth[number]) or a["score"] >= LEAST_SCORE]
        image = np.asarray(data.stored(number - 1)).transpose(2, 0, 1)
        zoom = min(CELL[0] / image.shape[2], CELL[1] / image.shape[1])
        categories = data.coco["categories"]
        pairs.append([_draw(image, things, categories, zoom) for things in (truth[number], best)])
    wide, high = CELL[0] + GAP, CELL[1] + GAP
    grid = Image.new("RGB", (4 * wide - GAP, HEADING + -(-len(pairs) // 2) * high - GAP), "white")
    for column, heading in enumerate(2 * ("annotated", "detected")):
        ImageDraw.Draw(grid).text((column * wide + 2, 2), heading, fill="black")
    for place, pair in enumerate(pairs):
        for side, picture in enumerate(pair):
            grid.paste(picture, ((2 * (place % 2) + side) * wide, HEADING + place // 2 * high))
    return grid


def _draw(
    image: np.ndarray, objects: Found, categories: list[dict[str, Any]], zoom: float | None = None
) -> Image.Image:
    """An image (3, H, W) magnified, each object tinted, framed and named in its class's colour.

    Without `zoom` by a whole number, to about `SHOWN_PIXELS`, each pixel a square.
    """
    pixels = image.transpose(1, 2, 0).astype(np.float64)
    photo = zoom is not None
    filter_ = Image.Resampling.LANCZOS if photo else Image.Resampling.NEAREST
    zoom = zoom or max(1, SHOWN_PIXELS // image.shape[-1])
    colours = [colorsys.hsv_to_rgb(i / len(categories), 0.9, 1.0) for i in range(len(categories))]
    for thing in objects:
        if isinstance(thing.get("segmentation"), dict):
            mask = scenes.decode(thing["segmentation"])
            pixels[mask] = 0.6 * pixels[mask] + 0.4 * 255 * np.array(colours[thing["category_id"] - 1])
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    picture = picture.resize((round(picture.width * zoom), round(picture.height * zoom)), filter_)
    pen = ImageDraw.Draw(picture)
    for thing in objects:
        left, top, width, height = (zoom * value for value in thing["bbox"])
        colour = tuple(round(255 * value) for value in colours[thing["category_id"] - 1])
        pen.rectangle((left, top, max(left, left + width - 1), max(top, top + height - 1)), outline=colour)
        name = categories[thing["category_id"] - 1]["name"]
        if photo:
            name += (
                " (crowd)" if thing.get("iscrowd") else f" {thing['score']:.2f}" if "score" in thing else ""
            )
            pen.rectangle(pen.textbbox((left + 2, top), name), fill=colour)
        pen.text((left + 2, top), name, fill="black" if photo else colour)
    return picture
