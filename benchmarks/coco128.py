"""Detection on a folder in COCO's layout: how well is the training set fitted, and what is found in val?

    python -m benchmarks.coco128 FOLDER [BACKBONE] [--steps N] [--side PX] [--weights ARM]

FOLDER holds train2017, val2017 and annotations/instances_{train,val}2017.json. The set is ingested, the
detector of winnow/evaluation/picture_detection.py is trained on all training pictures, and judged on them and
on val. If pycocotools is installed, it judges the same detections, and the largest difference is printed.

Without `--weights` (an arm's folder) the backbone, a ResNet of timm, starts from random weights, with
GroupNorm in place of BatchNorm, which the detector would keep fixed.
"""

import argparse
import contextlib
import io
import os
import platform
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models import encoders
from winnow.config.datasets import Dataset
from winnow.config.schema import Run
from winnow.evaluation.average_precision import KINDS, NAMES, results
from winnow.evaluation.detector_training import Outcome
from winnow.evaluation.picture_detection import (
    PictureConfig,
    evaluated,
    finetune_detector,
    open_pictures,
    protocol,
    split_rows,
)
from winnow.evaluation.pictures import Pictures
from winnow.evaluation.scene_pictures import draw_pictures
from winnow.ingest.ingest import ingest_source
from winnow.pool.annotations import Annotations
from winnow.pool.pool import Pool
from winnow.training.device import launch
from winnow.training.weights import load_encoder

HERE = Path(__file__).resolve().parent


def bar(items: Iterable[Any], **_: Any) -> Iterator[Any]:
    """Every hundredth item is printed, with the seconds so far."""
    begin = time.perf_counter()
    for number, item in enumerate(items):
        if number % 100 == 0:
            print(f"{number} after {time.perf_counter() - begin:.0f} s", flush=True)
        yield item


def opened(source: Path, folder: Path) -> tuple[Pool, Annotations]:
    """The set, ingested into a folder."""
    parts = {"train": "train", "test": "val"}
    options = {
        split: {"annotations": f"annotations/instances_{name}2017.json", "images": f"{name}2017"}
        for split, name in parts.items()
    }
    ingest_source(Dataset("coco", path=str(source), options=options), 0, folder, bar)
    annotations = Annotations.open(folder)
    if annotations is None:
        raise SystemExit(f"{source}: no boxes in its annotations")
    return Pool.open(folder), annotations


def group_norm(channels: int, **place: Any) -> nn.GroupNorm:
    return nn.GroupNorm(4, channels, **place)


def difference(data: Pictures, outcome: Outcome) -> float | None:
    """The largest difference to pycocotools on the same detections; None where it is not installed."""
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        return None
    largest = 0.0
    for kind, name in KINDS.items():
        if f"{name}_ap" not in outcome.metrics:
            continue
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = data.coco
            truth.createIndex()
            judge = COCOeval(truth, truth.loadRes(results(outcome.found, kind)), kind)
            judge.evaluate(), judge.accumulate(), judge.summarize()
        for part, theirs in zip(NAMES, judge.stats, strict=True):
            ours = outcome.metrics[f"{name}_{part}"]
            largest = max(largest, abs((-1.0 if ours is None else ours) - float(theirs)))
    return largest


def page(
    rows: dict[str, Outcome], checks: list[float | None], seconds: tuple[float, float], done: str
) -> str:
    machine = (
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    )
    lines = [
        "# Detection on pictures of COCO",
        "",
        f"{done}.",
        "",
        f"{seconds[0]:.0f} s of training, {seconds[1]:.0f} CPU seconds; {machine}.",
        "",
    ]
    names = [f"{kind}_{name}" for kind in ("box", "mask") for name in NAMES]
    lines += [f"| | {' | '.join(rows)} |", f"|---|{'---|' * len(rows)}"]
    for name in names:
        values = [outcome.metrics.get(name) for outcome in rows.values()]
        if any(value is not None for value in values):
            shown = " | ".join("undefined" if value is None else f"{value:.3f}" for value in values)
            lines.append(f"| {name} | {shown} |")
    known = [check for check in checks if check is not None]
    confirmed = f"largest difference {max(known):.1e}" if known else "not installed"
    return "\n".join([*lines, "", f"pycocotools on the same detections: {confirmed}.", ""])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("backbone", nargs="?", default="resnet10t")
    for name, kind, value in (
        ("steps", int, 6000),
        ("side", int, 192),
        ("batch", int, 2),
        ("lr", float, 1e-3),
    ):
        parser.add_argument(f"--{name}", type=kind, default=value)
    parser.add_argument("--flip", type=float, default=0.0)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--samples", type=Path)
    given = parser.parse_args()
    settings = PictureConfig(given.side, given.side * 5 // 3, given.flip, given.steps, given.batch, given.lr)
    fabric = launch(Run(accelerator="auto", threads=os.cpu_count() or 1))
    with tempfile.TemporaryDirectory() as name:
        pool, annotations = opened(given.folder, Path(name))
        rows, _ = split_rows(pool, annotations)
        train, test = open_pictures(pool, annotations, rows, settings)
        torch.manual_seed(0)
        random = None if given.weights else encoders.create(given.backbone, given.side, norm_layer=group_norm)
        encoder = random or load_encoder(given.weights)[0]
        begin, cpu = time.perf_counter(), time.process_time()
        masks = train.has_masks and test.has_masks
        net, _ = finetune_detector(encoder, train, masks, settings, 0, fabric, bar)
        seconds = time.perf_counter() - begin, time.process_time() - cpu
        found = {"train": evaluated(net, train, masks, fabric), "val": evaluated(net, test, masks, fabric)}
        sets = {"train": train, "val": test}
        for part, outcome in found.items():
            if given.samples:
                draw_pictures(sets[part], outcome.found).save(given.samples / f"{part}.png")
        checks = [difference(sets[part], outcome) for part, outcome in found.items()]
    start = (
        f"weights of {given.weights.name}"
        if given.weights
        else f"{given.backbone} with GroupNorm from random weights"
    )
    text = page(found, checks, seconds, f"{start}; {protocol(settings, train, test)}")
    (HERE / "coco128.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
