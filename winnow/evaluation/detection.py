"""A small Mask R-CNN around an encoder, finetuned and evaluated on scenes (winnow/evaluation/scenes.py)."""

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor, nn

from models.detector import DESCRIPTION, detector
from models.flops import measure
from winnow.config.bounds import bounded
from winnow.config.schema import Params
from winnow.evaluation import scenes
from winnow.evaluation.features import open_split
from winnow.evaluation.scenes import Scenes
from winnow.loading.views import MEAN, STD
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool
from winnow.training.device import generator

WEIGHT_DECAY = 0.05
CLIP = 5.0
CHUNK = 10
Found = list[dict[str, Any]]
Bar = Callable[[Iterable[int]], Iterator[int]]


@dataclass
class Config:
    """`canvas` is the side in pixels, `objects` the least and most on a canvas, `steps` the optimiser's."""

    canvas: int = bounded(64, 32)
    objects: list[int] = bounded([1, 4], 1)
    train_scenes: int = bounded(400, 1)
    test_scenes: int = bounded(100, 1)
    steps: int = bounded(200, 1)
    batch_size: int = bounded(4, 1)
    lr: float = bounded(2e-3, above=0)

    def __post_init__(self) -> None:
        if len(self.objects) != 2 or self.objects[0] > self.objects[1]:
            allowed = "[least, most] with 1 <= least <= most"
            raise ValueError(f"objects: {self.objects} is wrong; allowed: {allowed}")


@dataclass(frozen=True)
class Outcome:
    """COCO metrics in 0..1, None where undefined; FLOPs of training and inference; the detections."""

    metrics: dict[str, float | None]
    flops: int
    found: Found


def make_scenes(
    workspace: Workspace, pool: Pool, task_set: str, split: str, count: int, settings: Config, params: Params
) -> Scenes:
    """Scenes of a split's images, in an order drawn from the seed.

    Raises:
        ValueError: if an example has no label.
    """
    data = open_split(workspace, pool, task_set, split, scenes.side(settings.canvas), params)
    least, most = settings.objects
    name = ("detection", params.seed, split)
    chosen = torch.randperm(len(data), generator=generator(*name)).numpy()[: count * most]
    images, uids = data.pixels.get(chosen).numpy(), [data.uids[i] for i in chosen]
    labels = data.labels[torch.from_numpy(chosen)].tolist()
    source = scenes.Source(images, labels, uids, pool.classes)
    return scenes.compose(source, count, settings.canvas, (least, most), *name)


def finetune(
    encoder: nn.Module,
    train: Scenes,
    test: Scenes,
    settings: Config,
    seed: int,
    fabric: Fabric,
    bar: Bar = iter,
) -> Outcome:
    """Train a detector around `encoder` on `train`, and evaluate its last state on `test`.

    Raises:
        ValueError: if the encoder has no maps for a detector, or the loss is not finite.
    """
    torch.manual_seed(seed)  # the initialisation of new layers and torchvision's sampling use the global RNG
    net = detector(encoder, len(train.coco["categories"]), settings.canvas, MEAN, STD)
    module, spent = _train(net, train, settings, seed, fabric, bar)
    found, per_scene = predict(module, test)
    return Outcome(evaluate(test.coco, found), spent + per_scene * len(test), found)


def _train(
    net: nn.Module, data: Scenes, settings: Config, seed: int, fabric: Fabric, bar: Bar
) -> tuple[nn.Module, int]:
    """Train; the module on the fabric's device, and the FLOPs of its training."""
    optimizer: Any = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad], settings.lr, weight_decay=WEIGHT_DECAY
    )
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
            raise ValueError(f"tasks.detection.lr: {settings.lr:g} gives a loss that is not finite; lower it")
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
    """Indices of at least `wanted` scenes: epoch after epoch, each a permutation."""
    draws = [generator("detection", seed, "order", epoch) for epoch in range(-(-wanted // scenes))]
    return torch.cat([torch.randperm(scenes, generator=draw) for draw in draws]).tolist()


def _inputs(data: Scenes, fabric: Fabric) -> Tensor:
    return torch.from_numpy(data.images).to(fabric.device).float() / 255


@torch.no_grad()
def predict(module: nn.Module, data: Scenes) -> tuple[Found, int]:
    """Detections in COCO's result format, best first per scene, and FLOPs per scene, of the first `CHUNK`."""
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
        {
            "image_id": image,
            "category_id": int(label),
            "bbox": box,
            "score": score,
            "segmentation": scenes.encode(mask),
        }
        for label, box, score, mask in rows
    ]


def evaluate(coco: dict[str, Any], found: Found) -> dict[str, float | None]:
    """AP over IoU 0.5..0.95, AP50 and AP75 of boxes and masks, in 0..1, six places; None without objects."""
    from faster_coco_eval import COCO, COCOeval_faster

    truth = COCO(copy.deepcopy(coco))  # both calls write into their arguments
    results = truth.loadRes(copy.deepcopy(found))
    metrics: dict[str, float | None] = {}
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        evaluator = COCOeval_faster(truth, results, kind)
        evaluator.run()
        for suffix, value in zip(("ap", "ap50", "ap75"), evaluator.stats[:3], strict=True):
            metrics[f"{name}_{suffix}"] = None if value < 0 else round(float(value), 6)
    return metrics


def protocol(settings: Config, train: Scenes, test: Scenes) -> str:
    """What was done, and what the numbers may be compared with, in one sentence."""
    objects, tested = (len(data.coco["annotations"]) for data in (train, test))
    return (
        f"Mask R-CNN with FPN ({DESCRIPTION}), whole encoder finetuned with its BatchNorm fixed as "
        f"pretrained; {settings.steps} steps of AdamW, batch {settings.batch_size}, lr {settings.lr:g}, "
        f"warm-up and cosine, weight decay {WEIGHT_DECAY:g}, gradients clipped to {CLIP:g}, on {len(train)} "
        f"scenes of {settings.canvas} px with {objects} objects composed from the probe split; last step "
        f"evaluated by faster-coco-eval on {len(test)} scenes with {tested} objects composed from the test "
        "split; for comparing arms, not comparable with detectron2's COCO numbers"
    )
