"""Detection, and instance segmentation where there are masks, on a set's own annotated pictures.

data = open_pictures(pool, annotations, split_rows(...), settings)
finetune_pictures(encoder, *data, settings, seed, fabric)
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.detector import PICTURE_DESCRIPTION, picture_detector
from models.encoders import normalisation
from winnow.config.bounds import bounded
from winnow.config.errors import ParamsError
from winnow.evaluation.average_precision import KINDS, NAMES, evaluate
from winnow.evaluation.detector_training import (
    CLIP,
    WEIGHT_DECAY,
    Bar,
    Chunk,
    Outcome,
    Schedule,
    predict,
    train,
)
from winnow.evaluation.pictures import Pictures
from winnow.pool.annotations import Annotations
from winnow.pool.pool import Pool
from winnow.training.device import generator

CHUNK = 4  # pictures: their masks are pasted at full size, 1.2 MB for each detection in 640 x 480


@dataclass
class PictureConfig:
    """`short_side`, `long_side` bound a picture's sides in pixels; `flip` is the share that is mirrored.

    `schedule` multiplies the steps, as in winnow/evaluation/detection.py.
    """

    short_side: int = bounded(256, 32)
    long_side: int = bounded(448, 32)
    flip: float = bounded(0.5, 0, 1)
    steps: int = bounded(2000, 1)
    batch_size: int = bounded(4, 1)
    lr: float = bounded(1e-3, above=0)
    schedule: int = bounded(1, 1, 6)

    def check(self, key: str) -> None:
        """The rule about two keys."""
        if self.long_side < self.short_side:
            at = f"{key}.long_side: {self.long_side} is below {key}.short_side: {self.short_side}"
            raise ParamsError(f"{at}; raise it")


def split_rows(
    pool: Pool, annotations: Annotations, chosen: Mapping[str, np.ndarray] | None = None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """The annotated rows of a set by `train` and `test`, each picture once.

    A picture of both is for testing only.

    Args:
        chosen: the rows of each; by default those of the source's own split.

    Returns:
        The rows, and a line for each thing about them that a user should know.

    Raises:
        ValueError: if either has no picture, or there is no object to train on or to find.
    """
    splits = np.array(pool.column("split", annotations.rows).to_pylist(), object)
    if chosen is not None:
        splits[:] = ""
        for name in ("train", "test"):
            splits[np.isin(annotations.rows, chosen[name])] = name
    rows, conflicts = annotations.distinct(pool.index, annotations.rows)
    found = {
        name: rows[splits[np.searchsorted(annotations.rows, rows)] == name] for name in ("train", "test")
    }
    twice = len(annotations) - len(rows)
    lines = []
    if twice:
        kept = "the copy of the test split, or else the first, counts"
        lines.append(
            f"{twice} annotated pictures are exact copies, {conflicts} of them annotated otherwise: {kept}"
        )
    for name, part in found.items():
        things = sum((~annotations.of(int(row)).crowd).sum() for row in part)
        if not things:
            where = f"{pool.folder}: {len(part)} annotated pictures of the split {name!r} have no object"
            raise ValueError(f"{where}; detection needs annotations of train and of test (or val)")
    return found, lines


def open_pictures(
    pool: Pool,
    annotations: Annotations,
    rows: dict[str, np.ndarray],
    settings: PictureConfig,
    fast: bool = False,
) -> tuple[Pictures, Pictures]:
    """The pictures to train on and those to test on."""
    sides = settings.short_side, settings.long_side
    train_set, test_set = (Pictures(pool, annotations, rows[name], sides, fast) for name in ("train", "test"))
    return train_set, test_set


def finetune_pictures(
    encoder: nn.Module,
    training: Pictures,
    test: Pictures,
    settings: PictureConfig,
    seed: int,
    fabric: Fabric,
    bar: Bar = iter,
) -> Outcome:
    """Train a detector around `encoder` on `training`, and evaluate its last state on `test`.

    Masks are trained and judged where every object of both sets has one; else boxes alone.

    Raises:
        ValueError: if the encoder has no maps for a detector, a picture cannot be read, or the loss is not
            finite.
    """
    masks = training.has_masks and test.has_masks
    net, spent = finetune_detector(encoder, training, masks, settings, seed, fabric, bar)
    return evaluated(net, test, masks, fabric, spent)


def finetune_detector(
    encoder: nn.Module,
    training: Pictures,
    masks: bool,
    settings: PictureConfig,
    seed: int,
    fabric: Fabric,
    bar: Bar = iter,
) -> tuple[nn.Module, int]:
    """The trained detector, and the FLOPs of its training; raises as `finetune_pictures`."""
    torch.manual_seed(seed)  # the initialisation of new layers and torchvision's sampling use the global RNG
    by = normalisation(encoder)
    net = picture_detector(encoder, len(training.pool.classes), training.sides, masks, *by)

    def batches(chosen: list[int], step: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        return training.batch(chosen, masks, settings.flip, generator("detection", seed, "flip", step))

    steps, key = settings.schedule * settings.steps, "tasks.detection.pictures.lr"
    schedule = Schedule(steps, settings.batch_size, settings.lr, key)
    upright = [int(height > width) for height, width in training.sizes]
    return net, train(net, batches, upright, schedule, seed, fabric, bar)


def evaluated(net: nn.Module, test: Pictures, masks: bool, fabric: Fabric, spent: int = 0) -> Outcome:
    """COCO's 12 numbers of boxes, and of masks, of a detector on `test`.

    Args:
        spent: FLOPs to add to those of the inference.
    """
    found, per_picture = predict(net, chunks(test), fabric)
    metrics = evaluate(test.coco, found, list(KINDS) if masks else ["bbox"], NAMES)
    return Outcome(metrics, spent + per_picture * len(test), found)


def chunks(data: Pictures) -> Iterator[Chunk]:
    """The pictures at the size they are trained at, `CHUNK` at a time, with their stored sizes."""
    for start in range(0, len(data), CHUNK):
        chosen = range(start, min(start + CHUNK, len(data)))
        yield [data.image(i) for i in chosen], [data.sizes[i] for i in chosen]


def protocol(settings: PictureConfig, training: Pictures, test: Pictures) -> str:
    """What was done, and what the numbers may be compared with, in one sentence."""
    masks = training.has_masks and test.has_masks
    objects = [sum((~data.objects(i).crowd).sum() for i in range(len(data))) for data in (training, test)]
    return (
        f"{'Mask' if masks else 'Faster'} R-CNN with FPN ({PICTURE_DESCRIPTION}), whole encoder finetuned "
        f"with its BatchNorm fixed as pretrained; {settings.schedule}x schedule: "
        f"{settings.schedule * settings.steps} steps of AdamW, batch "
        f"{settings.batch_size}, lr {settings.lr:g}, warm-up and cosine, weight decay {WEIGHT_DECAY:g}, "
        f"gradients clipped to {CLIP:g}, on {len(training)} pictures with {objects[0]} objects, shorter side "
        f"{settings.short_side} px, longer at most {settings.long_side}, mirrored with probability "
        f"{settings.flip:g}; last step evaluated by faster-coco-eval on {len(test)} pictures with "
        f"{objects[1]} objects; a small detector, not comparable with published COCO numbers"
    )
