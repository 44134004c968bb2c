"""detection@ARM: how well does the encoder, finetuned whole, serve a small Mask R-CNN on scenes of several objects?

Scenes are composed from held-out images (stages/data/scenes.py): those to train on from the probe split, those to test on from
the test split. They depend on the seed and the splits only, so every arm gets the same ones.
"""

import colorsys
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image, ImageDraw
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor, nn

from models.detector import DESCRIPTION, detector
from models.flops import measure
from stages.data import scenes
from stages.data.pool import Pool
from stages.data.scenes import Scenes
from stages.data.views import MEAN, STD
from stages.params import ROOT, Detection, Params
from stages.stage import Stage, main
from stages.training.device import generator, launch
from stages.training.features import open_split
from stages.training.weights import load_encoder

WEIGHT_DECAY = 0.05
CLIP = 5.0
CHUNK = 10
SHOWN = 8
SHOWN_PIXELS = 192
GAP = 4
Found = list[dict[str, Any]]
Bar = Callable[[Iterable[int]], Iterator[int]]


@dataclass(frozen=True)
class Outcome:
    """COCO metrics (0..1, None where undefined), the FLOPs of training and inference, and the test scenes' detections."""

    metrics: dict[str, float | None]
    flops: int
    found: Found


def detection(stage: Stage) -> None:
    """Finetune, report box and mask AP, draw samples."""
    params, settings = stage.params, stage.params.detection
    fabric = launch(params.run)
    encoder, _ = load_encoder(ROOT / "results/pretrain" / str(stage.arm))
    pool = Pool.open(ROOT / "data/pool")
    train = make_scenes(pool, "probe", settings.train_scenes, params)
    test = make_scenes(pool, "test", settings.test_scenes, params)
    outcome = finetune(encoder, train, test, settings, params.seed, fabric, stage.track)
    stage.flops["evaluate"] = outcome.flops
    stage.facts["flops_estimated"] = "first training step x steps + first inference batch x scenes; proposals vary"
    stage.metrics.update(outcome.metrics, protocol=protocol(settings, train, test))
    draw_samples(test, outcome.found).save(stage.work / "samples.png")
    shown = ", ".join(f"{name} {'undefined' if v is None else f'{v:.4f}'}" for name, v in outcome.metrics.items())
    print(f"{stage.address}: {shown} ({stage.metrics['protocol']})")


def make_scenes(pool: Pool, split: str, count: int, params: Params) -> Scenes:
    """Scenes of a split's images, in an order drawn from the seed.

    Raises:
        ValueError: if an example has no label.
    """
    settings = params.detection
    data = open_split(pool, split, scenes.side(settings.canvas), params.run)
    least, most = settings.objects
    chosen = torch.randperm(len(data), generator=generator("detection", params.seed, split)).numpy()[: count * most]
    images, names = data.pixels.get(chosen).numpy(), [data.uids[i] for i in chosen]
    labels = data.labels[torch.from_numpy(chosen)].tolist()
    return scenes.compose(images, labels, names, pool.classes, count, settings.canvas, (least, most), "detection", params.seed, split)


def finetune(
    encoder: nn.Module, train: Scenes, test: Scenes, settings: Detection, seed: int, fabric: Fabric, bar: Bar = iter
) -> Outcome:
    """Train a detector around `encoder` on `train`, evaluate its last state on `test`; the same seed gives the same outcome.

    Raises:
        ValueError: if the encoder cannot feed a detector, or the loss is not finite.
    """
    torch.manual_seed(seed)  # new layers are initialised, and torchvision draws its samples, from the global RNG
    net = detector(encoder, len(train.coco["categories"]), settings.canvas, MEAN, STD)
    module, spent = _train(net, train, settings, seed, fabric, bar)
    found, per_scene = predict(module, test)
    return Outcome(evaluate(test.coco, found), spent + per_scene * len(test), found)


def _train(net: nn.Module, data: Scenes, settings: Detection, seed: int, fabric: Fabric, bar: Bar) -> tuple[nn.Module, int]:
    """The trained module, on the fabric's device, and the FLOPs of its training."""
    optimizer: Any = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], settings.lr, weight_decay=WEIGHT_DECAY)
    schedule = CosineLRScheduler(optimizer, settings.steps, warmup_t=settings.steps // 10, t_in_epochs=False)
    module, optimizer = fabric.setup(net.train(), optimizer)
    images, targets, flops = _inputs(data, fabric), data.targets(), 0

    def step(chosen: list[int]) -> None:
        wanted = [{name: value.to(fabric.device) for name, value in targets[i].items()} for i in chosen]
        loss = sum(module([images[i] for i in chosen], wanted).values())
        optimizer.zero_grad()
        fabric.backward(loss)
        norm = fabric.clip_gradients(module, optimizer, max_norm=CLIP, error_if_nonfinite=False)
        if not torch.isfinite(loss + norm):
            raise ValueError(f"detection.lr: {settings.lr:g} gives a loss that is not finite; lower it")
        optimizer.step()

    order = _order(len(data), settings.steps * settings.batch_size, seed)
    for number in bar(range(settings.steps)):
        schedule.step_update(number)
        chosen = order[number * settings.batch_size : (number + 1) * settings.batch_size]
        if number:
            step(chosen)
        else:
            flops = measure(lambda chosen=chosen: step(chosen))  # type: ignore[misc]
    return module, flops * settings.steps


def _order(scenes: int, wanted: int, seed: int) -> list[int]:
    """Indices of scenes, every one once before any comes again, in another order each time."""
    epochs = range(-(-wanted // scenes))
    return torch.cat([torch.randperm(scenes, generator=generator("detection", seed, "order", e)) for e in epochs]).tolist()


def _inputs(data: Scenes, fabric: Fabric) -> Tensor:
    return torch.from_numpy(data.images).to(fabric.device).float() / 255


@torch.no_grad()
def predict(module: nn.Module, data: Scenes) -> tuple[Found, int]:
    """Detections in COCO's result format, best first in each scene, and the FLOPs of one scene by the first `CHUNK`."""
    module.eval()
    images = torch.from_numpy(data.images)
    device = next(module.parameters()).device
    found: Found = []
    flops = 0
    for start in range(0, len(data), CHUNK):
        batch = list(images[start : start + CHUNK].to(device).float() / 255)
        outputs: list[dict[str, Tensor]] = []
        if start:
            outputs += module(batch)
        else:
            flops = measure(lambda into=outputs, batch=batch: into.extend(module(batch))) // len(batch)  # type: ignore[misc]
        for number, output in enumerate(outputs, start + 1):
            found += _results(number, {name: value.float().cpu() for name, value in output.items()})
    return found, flops


def _results(image: int, output: dict[str, Tensor]) -> Found:
    corners = output["boxes"].double()
    boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
    masks = output["masks"][:, 0].numpy() > 0.5
    rows = zip(output["labels"].tolist(), boxes, output["scores"].tolist(), masks, strict=True)
    return [
        {"image_id": image, "category_id": int(label), "bbox": box, "score": score, "segmentation": scenes.encode(mask)}
        for label, box, score, mask in rows
    ]


def evaluate(coco: dict[str, Any], found: Found) -> dict[str, float | None]:
    """AP over IoU 0.5..0.95, AP50 and AP75 of boxes and of masks, 0..1 rounded to six places; None where no object is."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(copy.deepcopy(coco))  # both calls write into what they are given
    results = truth.loadRes(copy.deepcopy(found))
    metrics: dict[str, float | None] = {}
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        evaluator = COCOeval_faster(truth, results, kind)
        evaluator.run()
        for suffix, value in zip(("ap", "ap50", "ap75"), evaluator.stats[:3], strict=True):
            metrics[f"{name}_{suffix}"] = None if value < 0 else round(float(value), 6)
    return metrics


def protocol(settings: Detection, train: Scenes, test: Scenes) -> str:
    """One sentence: what was done, and what the numbers may be compared with."""
    objects, tested = (len(data.coco["annotations"]) for data in (train, test))
    return (
        f"Mask R-CNN with FPN ({DESCRIPTION}), whole encoder finetuned with its BatchNorm fixed as pretrained; {settings.steps} "
        f"steps of AdamW, batch {settings.batch_size}, lr {settings.lr:g}, warm-up and cosine, weight decay {WEIGHT_DECAY:g}, "
        f"gradients clipped to {CLIP:g}, on "
        f"{len(train)} scenes of {settings.canvas} px with {objects} objects composed from the probe split; last step evaluated by "
        f"faster-coco-eval on {len(test)} scenes with {tested} objects composed from the test split; for comparing arms, not "
        "comparable with detectron2's COCO numbers"
    )


def draw_samples(data: Scenes, found: Found) -> Image.Image:
    """The first scenes: above with their true boxes, masks and classes, below with as many of the best detections."""
    pairs = []
    for number in range(1, min(SHOWN, len(data)) + 1):
        truth = [a for a in data.coco["annotations"] if a["image_id"] == number]
        guess = sorted((a for a in found if a["image_id"] == number), key=lambda a: -a["score"])[: len(truth)]
        pairs.append([_draw(data.images[number - 1], objects, data.coco["categories"]) for objects in (truth, guess)])
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


if __name__ == "__main__":
    main(detection)
