"""detection@ARM.SET: how well does a small Mask R-CNN detect objects when the whole encoder is finetuned?

A set that is annotated with boxes is used as it is: its own pictures, train and test split
(winnow/evaluation/picture_detection.py). From one with labels only, scenes are composed of held-out images
(winnow/evaluation/scenes.py), those to train on from the probe split, those to test on from the test split.
They depend on the seed and the splits only, so every arm gets the same ones.
"""

from typing import Any

import numpy as np

from winnow.evaluation import picture_detection
from winnow.evaluation.average_precision import SHORT
from winnow.evaluation.detection import Config, finetune, protocol
from winnow.evaluation.detector_training import Outcome
from winnow.evaluation.scene_pictures import draw_pictures, draw_samples
from winnow.evaluation.split_scenes import make_scenes
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.annotations import Annotations
from winnow.pool.pool import Pool, open_set
from winnow.training.device import launch
from winnow.training.weights import load_encoder

MAIN = [[name] for name in SHORT]  # what is printed of the metrics, of boxes and of masks

ENCODER_NEEDS = ("maps",)  # feature maps, which raw pixels are not


def detection(stage: Stage) -> None:
    """Finetune a detector, report box and mask AP, and draw samples."""
    params, workspace = stage.params, stage.workspace
    settings: Config = stage.settings(Config)
    fabric = launch(params.run)
    encoder, _ = load_encoder(workspace.arm(stage.arm))
    pool = open_set(workspace, params.datasets, stage.set)
    annotations = Annotations.open(pool.folder)
    if annotations is None:
        outcome, done = _on_scenes(stage, pool, settings, encoder, fabric)
    else:
        outcome, done = _on_pictures(stage, pool, annotations, settings, encoder, fabric)
    stage.flops["evaluate"] = outcome.flops
    estimated = "first training step x steps + first inference batch x images; proposals and sizes vary"
    stage.facts["flops_estimated"] = estimated
    stage.metrics.update(outcome.metrics, protocol=done)
    main_ones = {name: v for name, v in outcome.metrics.items() if name.split("_")[1:] in MAIN}
    shown = [f"{name} {'undefined' if v is None else f'{v:.4f}'}" for name, v in main_ones.items()]
    print(f"{stage.address}: {', '.join(shown)} ({stage.metrics['protocol']})")


def _on_scenes(stage: Stage, pool: Pool, settings: Config, encoder: Any, fabric: Any) -> tuple[Outcome, str]:
    """The outcome on composed scenes, and the protocol."""
    params, workspace = stage.params, stage.workspace
    about = settings.canvas, settings.objects, params
    train = make_scenes(workspace, pool, stage.set, "probe", settings.train_scenes, *about)
    test = make_scenes(workspace, pool, stage.set, "test", settings.test_scenes, *about)
    outcome = finetune(encoder, train, test, settings, params.seed, fabric, stage.track)
    draw_samples(test, outcome.found).save(stage.work / "samples.png")
    return outcome, protocol(settings, train, test)


def _own_splits(stage: Stage, pool: Pool) -> dict[str, np.ndarray]:
    """The rows that the set trains on, those of val among them, and those that it is tested on."""

    def rows(*splits: str) -> np.ndarray:
        paths = [stage.workspace.split(stage.set, split) for split in splits]
        return pool.rows([uid for path in paths for uid in uid_files.load(path)])

    return {"train": rows("probe", "val"), "test": rows("test")}


def _on_pictures(
    stage: Stage, pool: Pool, annotations: Annotations, settings: Config, encoder: Any, fabric: Any
) -> tuple[Outcome, str]:
    """The outcome on the set's own pictures, and the protocol."""
    own, fast = settings.pictures, stage.params.run.fast_decode
    rows, lines = picture_detection.split_rows(pool, annotations, _own_splits(stage, pool))
    for line in lines:
        print(f"{stage.address}: {line}", flush=True)
    train, test = picture_detection.open_pictures(pool, annotations, rows, own, fast)
    outcome = picture_detection.finetune_pictures(
        encoder, train, test, own, stage.params.seed, fabric, stage.track
    )
    draw_pictures(test, outcome.found).save(stage.work / "samples.png")
    return outcome, picture_detection.protocol(own, train, test)


if __name__ == "__main__":
    main(detection)
