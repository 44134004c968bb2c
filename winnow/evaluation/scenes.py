"""Detection scenes: real held-out images pasted on synthetic canvases, a COCO set with exact boxes and masks.

Source of the idea: Dwibedi et al., "Cut, Paste and Learn", arXiv 1708.01642. The rules here:

* Canvas: grey, a smooth random field (5 x 5 levels in `LEVELS`, bicubic) plus white noise with a standard
  deviation of `NOISE` levels. So neither brightness nor flatness gives an object away; where the pasted
  images have colour, colour may.
* Object: an image at a random whole number of pixels, between half and all of its side (`side`), at a random
  place on the canvas, pasted without blending, flipping or rotation.
* Foreground: if at least half of an image's border pixels are near black (brightest channel at most `BLACK`),
  the object is the pixels above `BLACK` after scaling, connected or not; otherwise it is the whole square.
* Later objects hide earlier ones. A mask is the object's visible pixels, and a box is tight around them. A
  place that would leave less than a quarter of any object's pixels visible is drawn again, `ATTEMPTS` times
  in total; then the object is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from faster_coco_eval.core import mask as rle
from PIL import Image
from torch import Generator, Tensor

from winnow.training.device import generator

LEVELS = (30.0, 150.0)
NOISE = 10.0
BLACK = 16
VISIBLE = 0.25
ATTEMPTS = 10


@dataclass(frozen=True)
class Scenes:
    """`images` uint8 (n, 3, S, S) and their annotations in COCO's format; image i has the COCO id i + 1."""

    images: np.ndarray
    coco: dict[str, Any]

    def __len__(self) -> int:
        return len(self.images)

    def targets(self) -> list[dict[str, Tensor]]:
        """Targets for torchvision's detectors: boxes (k, 4) as x1 y1 x2 y2, labels (k,), masks (k, S, S)."""
        size = self.images.shape[-1]
        found: list[list[dict[str, Any]]] = [[] for _ in range(len(self))]
        for annotation in self.coco["annotations"]:
            found[annotation["image_id"] - 1].append(annotation)
        return [_target(annotations, size) for annotations in found]


@dataclass(frozen=True)
class Source:
    """What scenes are composed of: `images` uint8 (m, 3, s, s), `labels` in 0..len(classes)-1, and uids."""

    images: np.ndarray
    labels: Sequence[int]
    uids: Sequence[str]
    classes: Sequence[str]


def side(canvas: int) -> int:
    """The side in pixels of images for a canvas, and so of the largest object: 28 of 64."""
    return 7 * canvas // 16


def compose(source: Source, count: int, canvas: int, objects: tuple[int, int], *name: int | str) -> Scenes:
    """Make `count` scenes of `objects` (least, most) images each; the same arguments give the same bytes.

    Images are used in order, each once before any is used again.

    Args:
        source: images whose sides are at most `canvas`.
        name: seeds the randomness, such as ("train", seed).
    """
    scenes = np.empty((count, 3, canvas, canvas), np.uint8)
    annotations: list[dict[str, Any]] = []
    used = 0
    for number in range(count):
        draw = generator("scenes", *name, number)
        wanted = objects[0] + _integer(objects[1] - objects[0] + 1, draw)
        chosen = [(used + i) % len(source.images) for i in range(wanted)]
        used += wanted
        scenes[number], owner = _compose_one(source.images[chosen], canvas, draw)
        for slot in np.unique(owner[owner >= 0]):
            row = chosen[slot]
            made = _annotation(owner == slot, len(annotations) + 1, number + 1, source.labels[row] + 1)
            annotations.append(made | {"uid": source.uids[row]})
    return Scenes(scenes, _coco(count, canvas, annotations, source.classes))


def _compose_one(images: np.ndarray, canvas: int, draw: Generator) -> tuple[np.ndarray, np.ndarray]:
    """A scene uint8 (3, S, S), and the index into `images` at each pixel, int (S, S), -1 for background."""
    scene = background(canvas, draw)
    owner = np.full((canvas, canvas), -1)
    sizes = np.zeros(len(images), int)
    for slot, image in enumerate(images):
        pixels, mask = cutout(image, _side(image.shape[-1], draw))
        sizes[slot] = mask.sum()
        placed = _place(owner, slot, mask, sizes, draw) if sizes[slot] else None
        if placed is None:
            sizes[slot] = 0
            continue
        owner, window = placed
        scene[:, *window][:, mask] = pixels[:, mask]
    return scene, owner


def _place(
    owner: np.ndarray, slot: int, mask: np.ndarray, sizes: np.ndarray, draw: Generator
) -> tuple[np.ndarray, tuple[slice, slice]] | None:
    """The owners after an object is pasted, and where it is; None if every place tried hides too much."""
    room = len(owner) - len(mask) + 1
    for _ in range(ATTEMPTS):
        top, left = _integer(room, draw), _integer(room, draw)
        window = slice(top, top + len(mask)), slice(left, left + len(mask))
        after = owner.copy()
        after[window][mask] = slot
        seen = np.bincount(after[after >= 0], minlength=len(sizes))
        if (seen >= VISIBLE * sizes).all():
            return after, window
    return None


def cutout(image: np.ndarray, pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """An image uint8 (3, s, s) scaled to (3, pixels, pixels) by bilinear antialiasing, and its foreground."""
    size = (pixels, pixels)
    resized = Image.fromarray(image.transpose(1, 2, 0)).resize(size, Image.Resampling.BILINEAR)
    scaled = np.asarray(resized).transpose(2, 0, 1)
    brightest = image.max(axis=0)
    border = np.concatenate([brightest[0], brightest[-1], brightest[1:-1, 0], brightest[1:-1, -1]])
    if (border <= BLACK).mean() < 0.5:
        return scaled, np.ones(size, bool)
    return scaled, scaled.max(axis=0) > BLACK


def background(canvas: int, draw: Generator) -> np.ndarray:
    """uint8 (3, canvas, canvas), three equal channels."""
    low, high = LEVELS
    field = low + (high - low) * torch.rand(1, 1, 5, 5, generator=draw)
    smooth = F.interpolate(field, size=(canvas, canvas), mode="bicubic", align_corners=True)[0]
    noisy = smooth + NOISE * torch.randn(1, canvas, canvas, generator=draw)
    return np.repeat(noisy.round().clamp(0, 255).to(torch.uint8).numpy(), 3, axis=0)


def _side(largest: int, draw: Generator) -> int:
    smallest = (largest + 1) // 2
    return smallest + _integer(largest - smallest + 1, draw)


def _integer(below: int, draw: Generator) -> int:
    return int(torch.randint(below, (1,), generator=draw))


def _annotation(mask: np.ndarray, number: int, image: int, category: int) -> dict[str, Any]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = [columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1]
    return {
        "id": number,
        "image_id": image,
        "category_id": int(category),
        "bbox": [float(value) for value in box],
        "segmentation": encode(mask),
        "area": int(mask.sum()),
        "iscrowd": 0,
    }


def encode(mask: np.ndarray) -> dict[str, Any]:
    """COCO's run-length encoding of a bool mask (S, S): `size` and `counts`, as text for JSON."""
    encoded = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = encoded["counts"]
    return {"size": list(mask.shape), "counts": counts.decode() if isinstance(counts, bytes) else counts}


def decode(segmentation: dict[str, Any]) -> np.ndarray:
    """The bool mask (S, S) of what `encode` wrote."""
    mask: np.ndarray = rle.decode(segmentation).astype(bool)
    return mask


def _target(annotations: list[dict[str, Any]], size: int) -> dict[str, Tensor]:
    boxes = torch.tensor([a["bbox"] for a in annotations]).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masks = [torch.from_numpy(decode(a["segmentation"])).byte() for a in annotations]
    return {
        "boxes": boxes,
        "labels": torch.tensor([a["category_id"] for a in annotations], dtype=torch.int64),
        "masks": torch.stack(masks) if masks else torch.zeros(0, size, size, dtype=torch.uint8),
    }


def _coco(
    count: int, canvas: int, annotations: list[dict[str, Any]], classes: Sequence[str]
) -> dict[str, Any]:
    size = {"width": canvas, "height": canvas}
    images = [{"id": i, **size, "file_name": f"{i:06d}.png"} for i in range(1, count + 1)]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(classes)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}
