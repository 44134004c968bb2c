"""Annotated pictures of a pool as a detection set: any size, read from the shards, with COCO's truth.

For training and inference a picture is resized (bilinear, antialiased) so that its shorter side is
`sides[0]`, or its longer side `sides[1]` where that would be exceeded. The truth, and detections, are in
pixels of the stored picture. Crowds are left out of training targets and kept in the truth, where COCO's
evaluation ignores what lies in them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from winnow.evaluation import scenes
from winnow.evaluation.stored_pictures import StoredPictures
from winnow.pool.annotations import Annotations, Objects
from winnow.pool.pool import Pool

Target = dict[str, Tensor]


@dataclass(frozen=True)
class Pictures(StoredPictures):
    """The pictures at these annotated rows (n,) of a pool; picture i has the COCO id i + 1.

    `fast` lets the decoder scale jpgs down, to slightly different pixels (winnow/pool/images.py).
    """

    pool: Pool
    annotations: Annotations
    rows: np.ndarray
    sides: tuple[int, int]
    fast: bool = False

    @cached_property
    def has_masks(self) -> bool:
        """Whether every object that is no crowd has a mask, and there is one."""
        things = [self.objects(i) for i in range(len(self))]
        masks = [mask for t in things for mask, crowd in zip(t.masks, t.crowd, strict=True) if not crowd]
        return bool(masks) and None not in masks

    def objects(self, i: int) -> Objects:
        """The objects of picture i."""
        return self.annotations.of(int(self.rows[i]))

    def target(self, i: int, masks: bool) -> Target:
        """The objects of picture i that are no crowds, at its resized size: `boxes` (k, 4) as x1 y1 x2 y2,
        `labels` (k,) from 1, and `masks` uint8 (k, h, w).
        """
        things, size = self.objects(i), self.resized(i)
        kept = np.flatnonzero(~things.crowd)
        (height, width), (stored_height, stored_width) = size, self.sizes[i]
        boxes = torch.from_numpy(things.boxes[kept].copy())
        boxes[:, 2:] += boxes[:, :2]
        boxes *= torch.tensor([width / stored_width, height / stored_height] * 2)
        target = {
            "boxes": boxes.float(),
            "labels": torch.from_numpy(things.labels[kept].astype(np.int64) + 1),
        }
        if masks:
            full = [self._mask(i, things.masks[k]) for k in kept]
            target["masks"] = _shrunk(torch.stack(full), size) if full else torch.zeros(0, *size).byte()
        return target

    def batch(
        self, chosen: list[int], masks: bool, flip: float, draw: Generator
    ) -> tuple[list[Tensor], list[Target]]:
        """Pictures and targets to train on, each mirrored with probability `flip`."""
        images, targets = [self.image(i) for i in chosen], [self.target(i, masks) for i in chosen]
        for at in (torch.rand(len(chosen), generator=draw) < flip).nonzero().flatten().tolist():
            images[at], targets[at] = mirrored(images[at], targets[at])
        return images, targets

    @cached_property
    def coco(self) -> dict[str, Any]:
        """The truth in COCO's format, in pixels of the stored pictures."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for i, (height, width) in enumerate(self.sizes):
            uid = self.pool.index.uid(int(self.rows[i]))
            images.append({"id": i + 1, "width": width, "height": height, "file_name": uid})
            things = self.objects(i)
            for k in range(len(things)):
                found = _annotation(things, k, [height, width], self.has_masks)
                annotations.append({"id": len(annotations) + 1, "image_id": i + 1, **found})
        categories = [{"id": k + 1, "name": name} for k, name in enumerate(self.pool.classes)]
        return {"info": {}, "images": images, "annotations": annotations, "categories": categories}

    def _mask(self, i: int, counts: str | None) -> Tensor:
        return torch.from_numpy(scenes.decode({"size": list(self.sizes[i]), "counts": counts}))


def mirrored(image: Tensor, target: Target) -> tuple[Tensor, Target]:
    """An image (3, h, w) and its target with left and right exchanged."""
    left, top, right, bottom = target["boxes"].unbind(1)
    width = image.shape[-1]
    boxes = torch.stack([width - right, top, width - left, bottom], 1)
    masks = {"masks": target["masks"].flip(-1)} if "masks" in target else {}
    return image.flip(-1), {**target, "boxes": boxes, **masks}


def _shrunk(masks: Tensor, size: tuple[int, int]) -> Tensor:
    """bool (k, H, W) -> uint8 (k, h, w): the pixels of which at least half is covered."""
    shares = F.interpolate(masks[None].float(), size=size, mode="bilinear", antialias=True)[0]
    return (shares >= 0.5).byte()


def _annotation(things: Objects, k: int, size: list[int], masks: bool) -> dict[str, Any]:
    x, y, width, height = box = things.boxes[k].tolist()
    about = {"category_id": int(things.labels[k]) + 1, "bbox": box, "area": float(things.areas[k])}
    about["iscrowd"] = int(things.crowd[k])
    if not masks:
        return about
    counts = things.masks[k]
    if counts is not None:
        return about | {"segmentation": {"size": size, "counts": counts}}
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]  # a crowd with a box only
    return about | {"segmentation": [corners]}
