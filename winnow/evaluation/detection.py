"""A small Mask R-CNN around an encoder, finetuned and evaluated on scenes (winnow/evaluation/scenes.py)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.detector import DESCRIPTION, detector
from models.encoders import normalisation
from winnow.config.bounds import bounded
from winnow.evaluation.average_precision import KINDS, SIZES, evaluate, scene_sides
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
from winnow.evaluation.picture_detection import PictureConfig
from winnow.evaluation.scenes import Scenes
from winnow.evaluation.split_scenes import check_objects

CHUNK = 10


@dataclass
class Config:
    """`canvas` is the side in pixels, `objects` the least and most on a canvas, `steps` the optimiser's.

    `schedule` multiplies the steps: what detection papers call the 1x and the 2x schedule.
    `pictures` are the settings for a set that is annotated with boxes, where no scene is composed.
    """

    canvas: int = bounded(64, 32)
    objects: list[int] = bounded([1, 4], 1)
    train_scenes: int = bounded(400, 1)
    test_scenes: int = bounded(100, 1)
    steps: int = bounded(200, 1)
    batch_size: int = bounded(4, 1)
    lr: float = bounded(2e-3, above=0)
    schedule: int = bounded(1, 1, 6)
    pictures: PictureConfig = field(default_factory=PictureConfig)

    def __post_init__(self) -> None:
        check_objects(self.objects)


def finetune(
    encoder: nn.Module,
    training: Scenes,
    test: Scenes,
    settings: Config,
    seed: int,
    fabric: Fabric,
    bar: Bar = iter,
) -> Outcome:
    """Train a detector around `encoder` on `training`, and evaluate its last state on `test`.

    Raises:
        ValueError: if the encoder has no maps for a detector, or the loss is not finite.
    """
    torch.manual_seed(seed)  # the initialisation of new layers and torchvision's sampling use the global RNG
    net = detector(encoder, len(training.coco["categories"]), settings.canvas, *normalisation(encoder))
    images, targets = torch.from_numpy(training.images), training.targets()

    def batches(chosen: list[int], step: int) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
        return [images[i] for i in chosen], [targets[i] for i in chosen]

    steps = settings.schedule * settings.steps
    schedule = Schedule(steps, settings.batch_size, settings.lr, "tasks.detection.lr")
    spent = train(net, batches, [0] * len(training), schedule, seed, fabric, bar)
    found, per_scene = predict(net, chunks(test), fabric)
    metrics = evaluate(test.coco, found, list(KINDS), SIZES, scene_sides(settings.canvas))
    return Outcome(metrics, spent + per_scene * len(test), found)


def chunks(data: Scenes) -> Iterator[Chunk]:
    """The scenes, `CHUNK` at a time; their size is their own."""
    size = data.images.shape[-2], data.images.shape[-1]
    for start in range(0, len(data), CHUNK):
        images = list(torch.from_numpy(data.images[start : start + CHUNK]))
        yield images, [size] * len(images)


def protocol(settings: Config, training: Scenes, test: Scenes) -> str:
    """What was done, and what the numbers may be compared with, in one sentence."""
    low, high = scene_sides(settings.canvas)
    steps = settings.schedule * settings.steps
    objects, tested = (len(data.coco["annotations"]) for data in (training, test))
    return (
        f"Mask R-CNN with FPN ({DESCRIPTION}), whole encoder finetuned with its BatchNorm fixed as "
        f"pretrained; {settings.schedule}x schedule: {steps} steps of AdamW, batch {settings.batch_size}, "
        f"lr {settings.lr:g}, warm-up and cosine, weight decay {WEIGHT_DECAY:g}, gradients clipped to "
        f"{CLIP:g}, on {len(training)} scenes of {settings.canvas} px with {objects} objects composed from "
        f"the probe split; last step evaluated by faster-coco-eval on {len(test)} scenes with {tested} "
        f"objects composed from the test split; small below {low:.3g}^2 pixels, large above {high:.3g}^2; "
        "for comparing arms, not comparable with detectron2's COCO numbers"
    )
