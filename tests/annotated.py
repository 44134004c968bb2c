"""Annotated sets for tests: `from tests.annotated import coco_folder, ingested`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.pictures import encode
from tests.pools import ingest
from winnow.config.datasets import Dataset
from winnow.pool.annotations import Annotations
from winnow.pool.pool import Pool

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0)}  # a class and its colour, on a grey background
IDS = {"red": 7, "green": 3}  # of categories, in another order than their names'


def drawn(boxes: dict[tuple[int, int, int, int], str], size: tuple[int, int]) -> Image.Image:
    """A grey picture of `size` (width, height) with a filled rectangle x, y, width, height of each colour."""
    pixels = np.full((size[1], size[0], 3), 128, np.uint8)
    for (x, y, width, height), colour in boxes.items():
        pixels[y : y + height, x : x + width] = COLOURS[colour]
    return Image.fromarray(pixels)


def facts(pictures: list[tuple[dict[Any, str], tuple[int, int]]], first: int = 1) -> dict[str, Any]:
    """A COCO json of such pictures, a rectangle's segmentation being its corners."""
    made: dict[str, Any] = {"images": [], "annotations": []}
    made["categories"] = [{"id": number, "name": name} for name, number in IDS.items()]
    for number, (boxes, (width, height)) in enumerate(pictures, first):
        name = f"{number:03d}.png"
        made["images"].append({"id": number, "file_name": name, "width": width, "height": height})
        for (x, y, wide, high), colour in boxes.items():
            corners = [x, y, x + wide, y, x + wide, y + high, x, y + high]
            about = {"id": len(made["annotations"]) + 1, "image_id": number, "category_id": IDS[colour]}
            about |= {"bbox": [x, y, wide, high], "area": wide * high, "iscrowd": 0}
            made["annotations"].append(about | {"segmentation": [corners]})
    return made


def random_pictures(count: int, seed: int) -> list[tuple[dict[Any, str], tuple[int, int]]]:
    """Pictures of 60 to 140 px with one to three rectangles, which may overlap."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        width, height = (int(side) for side in random.integers(60, 140, 2))
        boxes = {}
        for _ in range(random.integers(1, 4)):
            wide, high = (int(side) for side in random.integers(16, 50, 2))
            x, y = int(random.integers(0, width - wide)), int(random.integers(0, height - high))
            boxes[x, y, wide, high] = str(random.choice(list(COLOURS)))
        found.append((boxes, (width, height)))
    return found


def coco_folder(root: Path, train: Any, test: Any, change: Any = None) -> Dataset:
    """Write pictures and json of both splits, after `change(json, split)`; the source's settings."""
    for split, pictures in (("train", train), ("test", test)):
        (root / split).mkdir(parents=True)
        made = facts(pictures)
        for image, (boxes, size) in zip(made["images"], pictures, strict=True):
            (root / split / image["file_name"]).write_bytes(encode(drawn(boxes, size)))
        if change:
            change(made, split)
        (root / f"{split}.json").write_text(json.dumps(made))
    options = {split: {"annotations": f"{split}.json", "images": split} for split in ("train", "test")}
    return Dataset("coco", path=str(root), options=options)


def ingested(root: Path, dataset: Dataset) -> tuple[dict[str, int], Pool, Annotations]:
    """The counts, the pool and its annotations."""
    counts, pool = ingest(root / "pool", dataset)
    annotations = Annotations.open(root / "pool")
    assert annotations is not None
    return counts, pool, annotations
