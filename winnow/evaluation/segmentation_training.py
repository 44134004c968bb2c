"""Training of a segmenter and its predictions: one loop for frozen and finetuned encoders."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor, nn

from models.flops import measure
from models.segmenter import Segmenter
from winnow.config.bounds import bounded
from winnow.evaluation.intersection import VOID, Intersections, confusion
from winnow.evaluation.mask_pictures import Masked
from winnow.training.device import generator, reseed

WEIGHT_DECAY = 0.05
CLIP = 5.0
CHUNK = 16  # images of one size, of which maps or predictions are made at once,
LOGITS = 2e7  # or as many as give so many logits
KEPT_BYTES = 1e9  # of frozen maps that are kept between steps
Bar = Callable[[Iterable[int]], Iterator[int]]
Inputs = list[Tensor]
# (step) -> what the module takes, and classes int64 (B, S, S)
Batches = Callable[[int], tuple[Inputs, Tensor]]


@dataclass
class Schedule:
    """`steps` of AdamW with `batch_size` images, warm-up over a tenth and cosine from `lr`; 0 steps leave the
    protocol out.
    """

    steps: int = bounded(300, 0)
    batch_size: int = bounded(16, 2)
    lr: float = bounded(1e-3, above=0)


@dataclass(frozen=True)
class Outcome:
    """What is counted on the test images, FLOPs of training and inference, and the first predictions."""

    counts: Intersections
    flops: int
    shown: list[np.ndarray]


def segment(
    encoder: nn.Module,
    training: Masked,
    test: Masked,
    schedule: Schedule,
    frozen: bool,
    seed: int,
    fabric: Fabric,
    key: str,
    bar: Bar = iter,
    shown: int = 0,
) -> Outcome:
    """Train a segmenter around `encoder`, which is changed unless `frozen`, and test its last state.

    Args:
        key: that of `schedule`, for errors.
        shown: how many predictions are kept.

    Raises:
        ValueError: if the encoder has no maps, or features, loss or predictions are not finite.
    """
    reseed("segmentation", seed, "head")
    net = Segmenter(encoder, len(training.classes), frozen).train()
    fabric.to_device(net)
    order = _order(len(training), schedule, seed)

    def images(step: int) -> tuple[Inputs, Tensor]:
        pictures, classes = training.batch(order[step], generator("segmentation", seed, "views", step))
        return [pictures.to(fabric.device).float() / 255], classes

    module: nn.Module = net
    batches, spent = images, 0
    if frozen and training.fixed and _kept_bytes(net, training, fabric) <= KEPT_BYTES:
        kept, spent = _maps(net, training, fabric)
        module = _Decoder(net)

        def batches(step: int) -> tuple[Inputs, Tensor]:
            chosen = torch.tensor(order[step])
            _, classes = training.batch(order[step], generator("unused"))
            return [part[chosen].to(fabric.device) for part in kept], classes

    spent += fit(module, batches, schedule, fabric, key, bar)
    counts, tested, predictions = predict(net, test, fabric, shown)
    return Outcome(counts, spent + tested, predictions)


class _Decoder(nn.Module):
    """The head of a frozen segmenter: maps in, logits out, at the size of the images."""

    def __init__(self, net: Segmenter) -> None:
        super().__init__()
        self.head = net.head
        self.decode = net.decode

    def forward(self, size: tuple[int, int], *features: Tensor) -> Tensor:
        return self.decode(features, size)


def fit(
    module: nn.Module, batches: Batches, schedule: Schedule, fabric: Fabric, key: str, bar: Bar = iter
) -> int:
    """Train a module in place, and return the FLOPs of it: those of the first step times the steps.

    Raises:
        ValueError: if the loss or its gradient is not finite.
    """
    optimizer: Any = torch.optim.AdamW(
        [p for p in module.parameters() if p.requires_grad], schedule.lr, weight_decay=WEIGHT_DECAY
    )
    cosine = CosineLRScheduler(optimizer, schedule.steps, warmup_t=schedule.steps // 10, t_in_epochs=False)
    module, optimizer = fabric.setup(module, optimizer)

    def step(inputs: Inputs, classes: Tensor) -> None:
        size = (classes.shape[-2], classes.shape[-1])
        logits = module(size, *inputs) if isinstance(module.module, _Decoder) else module(*inputs)
        loss = loss_of(logits, classes.to(fabric.device))
        optimizer.zero_grad()
        fabric.backward(loss)
        norm: Any = fabric.clip_gradients(module, optimizer, max_norm=CLIP, error_if_nonfinite=False)
        if not torch.isfinite(loss + norm):
            why = "gives a loss that is not finite; lower it, or mend the encoder"
            raise ValueError(f"{key}.lr: {schedule.lr:g} {why}")
        optimizer.step()

    flops = 0
    for number in bar(range(schedule.steps)):
        cosine.step_update(number)
        batch = batches(number)
        if number:
            step(*batch)
        else:
            flops = measure(lambda batch=batch: step(*batch))  # type: ignore[misc]
    return flops * schedule.steps


def loss_of(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy, the mean over the pixels that are judged; 0 where none is: a cut of `VOID` alone."""
    total = F.cross_entropy(logits, classes, ignore_index=VOID, reduction="sum")
    return total / (classes != VOID).sum().clamp(min=1)


@torch.no_grad()
def predict(
    net: Segmenter, data: Masked, fabric: Fabric, shown: int = 0
) -> tuple[Intersections, int, list[np.ndarray]]:
    """What is counted, the FLOPs, and the first `shown` predictions uint8 (H, W).

    Raises:
        ValueError: if a logit is not finite.
    """
    net.eval()
    matrices: list[np.ndarray] = []
    kept: list[np.ndarray] = []
    flops, known = 0, {}
    for chosen, images in _chunks(data):
        inputs = images.to(fabric.device).float() / 255
        outputs: list[Tensor] = []

        def run(into: list[Tensor] = outputs, inputs: Tensor = inputs) -> None:
            with fabric.autocast():
                into.append(net(inputs).float())

        if (shape := tuple(inputs.shape)) not in known:
            known[shape] = measure(run)
        else:
            run()
        flops += known[shape]
        if not torch.isfinite(outputs[0]).all():
            raise ValueError("segmentation: the encoder gives features that are not finite; mend its weights")
        for i, logits in zip(chosen, outputs[0], strict=True):
            truth = data.truth(i)
            found = _classes(logits, truth.shape)
            matrices.append(confusion(truth, found, len(data.classes)))
            kept += [found] if len(kept) < shown else []
    return Intersections.of(matrices), flops, kept


def _classes(logits: Tensor, size: tuple[int, ...]) -> np.ndarray:
    """Logits (classes, h, w) -> the highest class of each pixel of a picture of `size`, uint8 (H, W)."""
    if logits.shape[-2:] != size:
        logits = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
    return np.asarray(logits.argmax(dim=0).to(torch.uint8).cpu())


def _chunks(data: Masked) -> Iterator[tuple[list[int], Tensor]]:
    """All images in their order, neighbours of one size together."""
    waiting: list[tuple[int, Tensor]] = []
    for i in range(len(data)):
        image = data.image(i)
        most = min(CHUNK, LOGITS // (len(data.classes) * image[0].numel()))
        if waiting and (len(waiting) >= most or waiting[0][1].shape != image.shape):
            yield [n for n, _ in waiting], torch.stack([one for _, one in waiting])
            waiting = []
        waiting.append((i, image))
    if waiting:
        yield [n for n, _ in waiting], torch.stack([one for _, one in waiting])


@torch.no_grad()
def _maps(net: Segmenter, data: Masked, fabric: Fabric) -> tuple[list[Tensor], int]:
    """The frozen maps of all images, (n, C, h, w) of each level, and the FLOPs of making them.

    Raises:
        ValueError: if one is not finite.
    """
    found: list[list[Tensor]] = []
    flops = 0
    for _, images in _chunks(data):
        inputs = images.to(fabric.device).float() / 255
        flops += measure(lambda inputs=inputs: found.append(net.maps(inputs)))  # type: ignore[misc]
    levels = [torch.cat(level) for level in zip(*found, strict=True)]
    if not all(bool(torch.isfinite(level).all()) for level in levels):
        raise ValueError("segmentation: the encoder gives features that are not finite; mend its weights")
    return levels, flops


@torch.no_grad()
def _kept_bytes(net: Segmenter, data: Masked, fabric: Fabric) -> int:
    one = net.maps(data.image(0)[None].to(fabric.device).float() / 255)
    return len(data) * sum(part.numel() * part.element_size() for part in one)


def _order(count: int, schedule: Schedule, seed: int) -> list[Sequence[int]]:
    """The images of each step: epoch after epoch, each a permutation."""
    needed = schedule.steps * schedule.batch_size
    found: list[int] = []
    while len(found) < needed:
        draw = generator("segmentation", seed, "order", len(found))
        found += torch.randperm(count, generator=draw).tolist()
    size = schedule.batch_size
    return [found[start : start + size] for start in range(0, needed, size)]
