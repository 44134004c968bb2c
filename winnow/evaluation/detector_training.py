"""Finetuning of a detector and its detections: one loop for composed scenes and for pictures."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor, nn

from models.detector import detect
from models.flops import measure
from winnow.evaluation import scenes
from winnow.training.device import generator

WEIGHT_DECAY = 0.05
CLIP = 5.0
Found = list[dict[str, Any]]
Bar = Callable[[Iterable[int]], Iterator[int]]
Targets = list[dict[str, Tensor]]
# (examples, step) -> images uint8 (3, h, w) and targets of torchvision's detectors
Batches = Callable[[list[int], int], tuple[list[Tensor], Targets]]
# Images uint8 (3, h, w), and the height and width of each before it was resized
Chunk = tuple[list[Tensor], list[tuple[int, int]]]


@dataclass(frozen=True)
class Schedule:
    """`steps` of AdamW with `batch_size` examples, warm-up and cosine to `lr`; `key` is lr's, for errors."""

    steps: int
    batch_size: int
    lr: float
    key: str


@dataclass(frozen=True)
class Outcome:
    """COCO metrics in 0..1, None where undefined; FLOPs of training and inference; the detections."""

    metrics: dict[str, float | None]
    flops: int
    found: Found


def train(
    net: nn.Module,
    batches: Batches,
    groups: Sequence[int],
    schedule: Schedule,
    seed: int,
    fabric: Fabric,
    bar: Bar,
) -> int:
    """Train a detector in place, on the fabric's device; the FLOPs of its training.

    The next batch is read while one is trained on.

    Args:
        groups: one for each example; a batch is of one group, so that few of its pixels are padding.

    Raises:
        ValueError: if the loss is not finite.
    """
    optimizer: Any = torch.optim.AdamW(
        [p for p in net.parameters() if p.requires_grad], schedule.lr, weight_decay=WEIGHT_DECAY
    )
    cosine = CosineLRScheduler(optimizer, schedule.steps, warmup_t=schedule.steps // 10, t_in_epochs=False)
    module, optimizer = fabric.setup(net.train(), optimizer)

    def step(images: list[Tensor], targets: Targets) -> None:
        inputs = [image.to(fabric.device).float() / 255 for image in images]
        wanted = [{name: value.to(fabric.device) for name, value in target.items()} for target in targets]
        loss = sum(module(inputs, wanted).values())
        optimizer.zero_grad()
        fabric.backward(loss)
        norm = fabric.clip_gradients(module, optimizer, max_norm=CLIP, error_if_nonfinite=False)
        if not torch.isfinite(loss + norm):
            raise ValueError(f"{schedule.key}: {schedule.lr:g} gives a loss that is not finite; lower it")
        optimizer.step()

    flops, order = 0, _order(groups, schedule.steps, schedule.batch_size, seed)
    with ThreadPoolExecutor(1) as background:

        def submit(number: int) -> Any:
            return background.submit(batches, order[number], number)

        coming = submit(0)
        for number in bar(range(schedule.steps)):
            cosine.step_update(number)
            batch = coming.result()
            if number + 1 < schedule.steps:
                coming = submit(number + 1)
            if number:
                step(*batch)
            else:
                flops = measure(lambda batch=batch: step(*batch))  # type: ignore[misc]
    return flops * schedule.steps


def _order(groups: Sequence[int], steps: int, size: int, seed: int) -> list[list[int]]:
    """The examples of each step: epoch after epoch, each a permutation; what fills no batch waits."""
    found: list[list[int]] = []
    waiting: dict[int, list[int]] = {group: [] for group in groups}
    for epoch in itertools.count():
        draw = generator("detection", seed, "order", epoch)
        for example in torch.randperm(len(groups), generator=draw).tolist():
            batch = waiting[groups[example]]
            batch.append(example)
            if len(batch) == size:
                found.append(batch)
                waiting[groups[example]] = []
            if len(found) == steps:
                return found
    raise AssertionError


@torch.no_grad()
def predict(net: nn.Module, chunks: Iterable[Chunk], fabric: Fabric) -> tuple[Found, int]:
    """Detections in COCO's result format, best first per image, and FLOPs per image, of the first chunk.

    Images are numbered from 1 in the order of the chunks; coordinates are those before resizing.
    """
    net.eval()
    found: Found = []
    flops, number = 0, 0
    for images, sizes in chunks:
        inputs = [image.to(fabric.device).float() / 255 for image in images]
        outputs: list[dict[str, Tensor]] = []

        def run(into: list[Any] = outputs, inputs: list[Tensor] = inputs, sizes: Any = sizes) -> None:
            with fabric.autocast():
                into.extend(detect(net, inputs, sizes))

        if number:
            run()
        else:
            flops = measure(run) // len(images)
        for output in outputs:
            number += 1
            found += _results(number, {name: value.float().cpu() for name, value in output.items()})
    return found, flops


def _results(image: int, output: dict[str, Tensor]) -> Found:
    corners = output["boxes"].double()
    boxes = torch.cat([corners[:, :2], corners[:, 2:] - corners[:, :2]], dim=1).tolist()
    rows = zip(output["labels"].tolist(), boxes, output["scores"].tolist(), strict=True)
    found = [
        {"image_id": image, "category_id": int(label), "bbox": box, "score": score}
        for label, box, score in rows
    ]
    if "masks" in output:
        for one, mask in zip(found, output["masks"][:, 0].numpy() > 0.5, strict=True):
            one["segmentation"] = scenes.encode(mask)
    return found
