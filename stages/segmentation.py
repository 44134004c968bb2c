"""segmentation@ARM.SET: how well does the encoder tell the class of each pixel, frozen and finetuned?

A set with semantic masks is used as it is: its own pictures, train and test split. From one with labels only,
scenes are composed of held-out images (winnow/evaluation/scenes.py), those to train on from the probe split,
those to test on from the test split: an object's pixels are of its label's class, all others background.
"""

from typing import Any

import numpy as np

from winnow.evaluation.mask_drawings import SHOWN, draw_masks
from winnow.evaluation.mask_pictures import Masked, MaskedScenes
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.evaluation.segmentation import (
    Config,
    PictureConfig,
    by_class,
    measured,
    metrics,
    open_pictures,
    per_image,
    protocol,
)
from winnow.evaluation.split_scenes import make_scenes
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.masks import Masks
from winnow.pool.pool import Pool, open_set
from winnow.training.device import launch
from winnow.training.weights import load_encoder

KEY = "tasks.segmentation"
ENCODER_NEEDS = ("maps",)  # feature maps, which raw pixels are not


def segmentation(stage: Stage) -> None:
    """Train the heads, report mIoU and accuracies, and draw samples."""
    params, workspace = stage.params, stage.workspace
    settings: Config = stage.settings(Config)
    fabric = launch(params.run)
    encoder, _ = load_encoder(workspace.arm(stage.arm))
    pool = open_set(workspace, params.datasets, stage.set)
    masks = Masks.open(pool.folder)
    if masks is None:
        _measure(stage, encoder, *_scenes(stage, pool, settings), settings, KEY, fabric)
    else:
        own = settings.pictures
        _measure(stage, encoder, *_pictures(stage, pool, masks, own), own, f"{KEY}.pictures", fabric)


def _measure(
    stage: Stage,
    encoder: Any,
    training: Masked,
    test: Masked,
    data: str,
    settings: Config | PictureConfig,
    key: str,
    fabric: Any,
) -> None:
    """Train and test by each protocol, and write what came out."""
    classes = list(training.classes)
    found = measured(encoder, training, test, settings, stage.params.seed, fabric, key, stage.track, SHOWN)
    stage.flops["evaluate"] = sum(one.flops for one in found.values())
    numbers = metrics(found)
    stage.metrics.update(
        numbers, class_iou=by_class(found, classes), protocol=protocol(found, settings, data, classes)
    )
    write_outcomes(stage.work / OUTCOMES, test.uids, per_image(found))
    draw_masks(test, {mode: one.shown for mode, one in found.items()}).save(stage.work / "samples.png")
    shown = [f"{name} {value:.4f}" for name, value in numbers.items() if name.endswith("miou")]
    print(f"{stage.address}: {', '.join(shown)} ({stage.metrics['protocol']})")


def _scenes(stage: Stage, pool: Pool, settings: Config) -> tuple[Masked, Masked, str]:
    """Composed scenes to train and test on, and a line about them."""
    about = settings.canvas, settings.objects, stage.params
    pairs = (("probe", settings.train_scenes), ("test", settings.test_scenes))
    train, test = (
        make_scenes(stage.workspace, pool, stage.set, split, count, *about) for split, count in pairs
    )
    objects, tested = (len(data.coco["annotations"]) for data in (train, test))
    data = (
        f"{len(train)} scenes of {settings.canvas} px with {objects} objects composed from the probe split, "
        f"{len(test)} with {tested} from the test split, for comparing arms"
    )
    return MaskedScenes(train), MaskedScenes(test), data


def _pictures(stage: Stage, pool: Pool, masks: Masks, settings: PictureConfig) -> tuple[Masked, Masked, str]:
    """The set's own pictures to train and test on, and a line about them."""

    def rows(*splits: str) -> np.ndarray:
        paths = [stage.workspace.split(stage.set, split) for split in splits]
        return pool.rows([uid for path in paths for uid in uid_files.load(path)])

    chosen = {"train": rows("probe", "val"), "test": rows("test")}
    train, test, lines = open_pictures(pool, masks, chosen, settings, stage.params.run.fast_decode)
    for line in lines:
        print(f"{stage.address}: {line}", flush=True)
    data = (
        f"{len(train)} pictures, shorter side {settings.short_side} px, longer at most {settings.long_side}, "
        f"a random square of them, mirrored with probability {settings.flip:g}; {len(test)} pictures tested "
        "whole, judged at their stored size, without flips or scales"
    )
    return train, test, data


if __name__ == "__main__":
    main(segmentation)
