"""Semantic segmentation by a frozen and by a finetuned encoder, on scenes or on a set's own pictures."""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lightning_fabric import Fabric
from torch import nn

from models.segmenter import FCN_DESCRIPTION, LINEAR_DESCRIPTION
from winnow.config.bounds import bounded
from winnow.config.errors import ParamsError
from winnow.evaluation.mask_pictures import Masked, MaskPictures
from winnow.evaluation.segmentation_training import CLIP, WEIGHT_DECAY, Bar, Outcome, Schedule, segment
from winnow.evaluation.split_scenes import check_objects
from winnow.pool.masks import Masks
from winnow.pool.pool import Pool

LINEAR, FINETUNE = "linear", "finetune"
NAMED = 8  # absent classes that the protocol names


@dataclass
class PictureConfig:
    """`short_side`, `long_side` bound a picture's sides in pixels; `flip` is the share that is mirrored."""

    short_side: int = bounded(256, 32)
    long_side: int = bounded(512, 32)
    flip: float = bounded(0.5, 0, 1)
    linear: Schedule = field(default_factory=lambda: Schedule(1000, 8, 1e-2))
    finetune: Schedule = field(default_factory=lambda: Schedule(1000, 8, 1e-3))

    def check(self, key: str) -> None:
        """The rules about two keys."""
        if self.long_side < self.short_side:
            at = f"{key}.long_side: {self.long_side} is below {key}.short_side: {self.short_side}"
            raise ParamsError(f"{at}; raise it")
        check_schedules(key, self)


@dataclass
class Config:
    """`canvas` is the side in pixels, `objects` the least and most on a canvas.

    `pictures` are the settings for a set with masks, where no scene is composed.
    """

    canvas: int = bounded(96, 32)
    objects: list[int] = bounded([1, 4], 1)
    train_scenes: int = bounded(400, 1)
    test_scenes: int = bounded(300, 1)
    linear: Schedule = field(default_factory=lambda: Schedule(300, 16, 1e-2))
    finetune: Schedule = field(default_factory=lambda: Schedule(0, 8, 2e-3))
    pictures: PictureConfig = field(default_factory=PictureConfig)

    def __post_init__(self) -> None:
        check_objects(self.objects)

    def check(self, key: str) -> None:
        """The rule about two keys."""
        check_schedules(key, self)


def check_schedules(key: str, settings: Any) -> None:
    """Raise `ParamsError` where both protocols are left out."""
    if not settings.linear.steps and not settings.finetune.steps:
        raise ParamsError(f"{key}.linear.steps and {key}.finetune.steps: both 0; give one of them steps")


def open_pictures(
    pool: Pool,
    masks: Masks,
    rows: dict[str, np.ndarray],
    settings: PictureConfig,
    fast: bool = False,
) -> tuple[MaskPictures, MaskPictures, list[str]]:
    """The pictures to train on and those to test on, and a line for each thing that a user should know.

    Args:
        rows: those of `train` and `test`; a picture of both is for testing only.

    Raises:
        ValueError: if one of them has no mask.
    """
    sides, lines = (settings.short_side, settings.long_side), []
    rows = {"train": np.setdiff1d(rows["train"], rows["test"]), "test": np.unique(rows["test"])}
    found = []
    for name, every in rows.items():
        kept = every[np.isin(every, masks.rows)]
        if len(kept) < len(every):
            lines.append(
                f"{len(every) - len(kept)} of {len(every)} pictures of {name} have no mask: left out"
            )
        if not len(kept):
            where = f"{pool.folder}: none of the {len(every)} pictures of {name!r} has a mask"
            raise ValueError(f"{where}; segmentation needs masks of train and of test (or val)")
        found.append(MaskPictures(pool, masks, kept, sides, settings.flip if name == "train" else 0.0, fast))
    return found[0], found[1], lines


def measured(
    encoder: nn.Module,
    training: Masked,
    test: Masked,
    settings: Config | PictureConfig,
    seed: int,
    fabric: Fabric,
    key: str,
    bar: Bar = iter,
    shown: int = 0,
) -> dict[str, Outcome]:
    """The outcome of each protocol that has steps; `encoder` is not changed.

    Raises:
        ValueError: as `segment`.
    """
    found = {}
    for name, schedule in ((LINEAR, settings.linear), (FINETUNE, settings.finetune)):
        if schedule.steps:
            about = schedule, name == LINEAR, seed, fabric, f"{key}.{name}", bar, shown
            found[name] = segment(copy.deepcopy(encoder), training, test, *about)
    return found


def metrics(outcomes: dict[str, Outcome]) -> dict[str, float]:
    """PROTOCOL_NAME -> number in 0..1."""
    return {
        f"{mode}_{name}": value
        for mode, one in outcomes.items()
        for name, value in one.counts.metrics().items()
    }


def per_image(outcomes: dict[str, Outcome]) -> dict[str, np.ndarray]:
    """PROTOCOL_NAME -> a value for each test image, whose mean is the number of that name."""
    return {
        f"{mode}_{name}": values
        for mode, one in outcomes.items()
        for name, values in one.counts.outcomes().items()
    }


def by_class(outcomes: dict[str, Outcome], classes: list[str]) -> dict[str, dict[str, float]]:
    """PROTOCOL -> class -> IoU, of the classes that occur in the truth."""
    return {
        mode: {
            classes[i]: round(float(value), 6)
            for i, value in zip(one.counts.judged, one.counts.ious(), strict=True)
        }
        for mode, one in outcomes.items()
    }


def protocol(
    outcomes: dict[str, Outcome], settings: Config | PictureConfig, data: str, classes: list[str]
) -> str:
    """What was done, and what the numbers are, in a few sentences.

    Args:
        data: what was trained and tested on.
    """
    counts = next(iter(outcomes.values())).counts
    ways = {LINEAR: f"{LINEAR_DESCRIPTION}, encoder frozen", FINETUNE: f"{FCN_DESCRIPTION}, all finetuned"}
    done = "; ".join(f"{mode}: {ways[mode]}, {_steps(getattr(settings, mode))}" for mode in outcomes)
    absent = [classes[i] for i in counts.absent]
    more = f" and {len(absent) - NAMED} more" if len(absent) > NAMED else ""
    left_out = f", {', '.join(absent[:NAMED])}{more} being absent" if absent else ""
    return (
        f"{done}; AdamW, warm-up and cosine, weight decay {WEIGHT_DECAY:g}, gradients clipped to {CLIP:g}, "
        f"cross-entropy; {data}. IoU over all judged pixels of the last state's predictions, the mean over "
        f"the {len(counts.judged)} of {len(classes)} classes that occur in the truth of test{left_out}; the "
        "interval is that of this mIoU, linearised per image"
    )


def _steps(schedule: Schedule) -> str:
    return f"{schedule.steps} steps, batch {schedule.batch_size}, lr {schedule.lr:g}"
