"""Pictures of scenes with their true and detected boxes, masks and classes."""

import colorsys
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from winnow.evaluation import scenes
from winnow.evaluation.scenes import Scenes

SHOWN = 8
SHOWN_PIXELS = 192
GAP = 4
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


def _draw(image: np.ndarray, objects: Found, categories: list[dict[str, Any]]) -> Image.Image:
    """A scene (3, S, S) magnified, each object tinted, framed and named in its class's colour."""
    pixels, zoom = image.transpose(1, 2, 0).astype(np.float64), max(1, SHOWN_PIXELS // image.shape[-1])
    colours = [colorsys.hsv_to_rgb(i / len(categories), 0.9, 1.0) for i in range(len(categories))]
    for thing in objects:
        mask = scenes.decode(thing["segmentation"])
        pixels[mask] = 0.6 * pixels[mask] + 0.4 * 255 * np.array(colours[thing["category_id"] - 1])
    picture = Image.fromarray(pixels.round().astype(np.uint8))
    picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    pen = ImageDraw.Draw(picture)
    for thing in objects:
        left, top, width, height = (zoom * value for value in thing["bbox"])
        colour = tuple(round(255 * value) for value in colours[thing["category_id"] - 1])
        pen.rectangle((left, top, left + width - 1, top + height - 1), outline=colour)
        pen.text((left + 2, top), categories[thing["category_id"] - 1]["name"], fill=colour)
    return picture
