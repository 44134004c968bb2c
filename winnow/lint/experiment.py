"""`winnow lint params.yaml`: what the chosen experiment will miss in its datasets, before anything runs.

A line of `missing` stops a stage or leaves a figure out; `remarks` are choices that a person may not have
meant. Both count what the sources offer: filters drop some of it later.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from statistics import median

from winnow.config.budget import NOT_REPRODUCIBLE, reproducible
from winnow.config.datasets import Dataset
from winnow.config.plugins import declared
from winnow.config.proposals import image_size
from winnow.config.schema import Params
from winnow.lint.contents import Contents, Part

FEW = 3  # seeds, below which intervals over them are very wide, or there are none
FAR = 2.0  # pictures are this many times larger than what they are trained at
Found = Mapping[str, Contents]  # of each dataset that has a source


def missing(params: Params, found: Found) -> Iterator[str]:
    """What is not there, one line for each, with the key that asks for it and the mend.

    Args:
        found: of the whole sources; `limit` is applied here.
    """
    pool = [found[name].train for name in params.datasets.pool]
    yield from _needs(params, pool)
    for name, one in params.datasets.pool.items():
        yield from _held_out(params, name, one, found[name])
    for name, task_set in params.datasets.tasks.items():
        if task_set.source:
            yield from _labels(f"datasets.tasks.{name}", task_set.tasks, found[name])
    count = sum(_limited(found[name].train.count, one) for name, one in params.datasets.pool.items())
    smallest = min((params.methods[arm.method].batch_size for arm in params.arms.values()), default=0)
    if 0 < count < smallest:
        yield f"methods.*.batch_size: at least {smallest}, and there are {count} images to train on; lower it"


def remarks(params: Params, found: Found) -> Iterator[str]:
    """What works, and may surprise."""
    pool = [found[name] for name in params.datasets.pool]
    if sides := [side for one in pool for side in one.sides]:
        middle = median(sides)
        for name in sorted({arm.backbone for arm in params.arms.values() if not arm.frozen}):
            size = params.backbones[name].image_size
            if middle >= FAR * size:
                given = f"backbones.{name}.image_size: {size}, and the median shorter side is {middle:.0f} px"
                yield f"{given}; no arm sees that detail, image_size {image_size(sides)} shows it"
    seeds = Counter(name.removesuffix(f"-s{arm.seed}") for name, arm in params.arms.items() if not arm.frozen)
    if len(seeds) > 1 and min(seeds.values()) < FEW:
        few = f"arms: {min(seeds.values())} seed{'s' if min(seeds.values()) > 1 else ''} each"
        yield f"{few}, too few to tell arms apart from the noise of training; seeds=3 runs each three times"
    if not reproducible(params.pretrain.budget):
        yield f"{NOT_REPRODUCIBLE}; give FLOPs for that"
    if params.scale == "debug":
        yield "scale: debug, so every figure is wiring, not a result"
    labelled = [name for name, arm in params.arms.items() if "labels" in _reads(arm.method)]
    if labelled and sum(len(one.train.classes) for one in pool) == 1:
        yield f"arms {', '.join(labelled)} learn from labels, and all labels are of one class"


def _reads(method: str) -> frozenset[str]:
    """What a method needs of an example, of labels and captions."""
    from models import methods  # imports torch

    return methods.load(method).Method.NEEDS


def _limited(count: int, dataset: Dataset) -> int:
    return count if dataset.limit is None else min(count, dataset.limit)


def _needs(params: Params, pool: list[Part]) -> Iterator[str]:
    """Labels and captions that a method reads of the pool."""
    users: dict[str, list[str]] = {}
    for name, arm in params.arms.items():
        users.setdefault(arm.method, []).append(f"arms.{name}")
    for method in params.reference.methods:
        users.setdefault(method, []).append("reference.methods")
    count = sum(part.count for part in pool)
    having = {
        "labels": sum(part.labelled for part in pool),
        "captions": sum(part.captioned for part in pool),
    }
    others = {"labels": "simclr or dino", "captions": "simclr, dino or supervised"}
    for method, keys in users.items():
        for need in sorted(_reads(method) & having.keys()):
            if count and having[need] < count:
                lacking = f"{count - having[need]:,} of {count:,} training images have none"
                yield f"{', '.join(keys)}: {method} needs {need}, and {lacking}; take {others[need]}"


def _held_out(params: Params, name: str, dataset: Dataset, contents: Contents) -> Iterator[str]:
    """Whether what is held out of a dataset of the pool can be."""
    datasets = params.datasets
    asked = {
        f"reference.{one}": held.examples or 0
        for one, held in datasets.reference.items()
        if held.held_out_of == name
    }
    for one, held in datasets.tasks.items():
        if held.held_out_of == name:
            asked |= {
                f"tasks.{one}.splits.{split}": getattr(held.splits, split) for split in ("probe", "val")
            }
            wanted = held.splits.test or 0
            yield from _test(
                f"datasets.tasks.{one}.splits.test", wanted, _limited(contents.test.count, dataset)
            )
            yield from _labels(f"datasets.tasks.{one}", held.tasks, contents)
    train = _limited(contents.train.count, dataset)
    trusted = int(dataset.trusted * train)
    if sum(asked.values()) > trusted:
        given = " + ".join(f"{key} {count:,}" for key, count in asked.items())
        offered = (
            f"datasets.pool.{name}.trusted {dataset.trusted:g} of {train:,} training images is {trusted:,}"
        )
        yield f"datasets: {given} is {sum(asked.values()):,}, and {offered}; lower them, or raise it"


def _test(key: str, wanted: int, offered: int) -> Iterator[str]:
    if wanted and not offered:
        yield f"{key}: {wanted:,}, and the source has no test split; add one to its files"
    elif wanted > offered:
        yield f"{key}: {wanted:,}, and the source's test split has {offered:,}; lower it"


def _labels(key: str, tasks: list[str], contents: Contents) -> Iterator[str]:
    """Whether the tasks that measure by labels, or by the captions of test images, have any."""
    reading = [task for task in tasks if "captions" in declared("stages", task, "NEEDS")]
    if reading and contents.test.captioned < contents.test.count:
        lacking = f"{contents.test.count - contents.test.captioned:,} of {contents.test.count:,}"
        yield f"{key}: {', '.join(reading)} measures by captions, and {lacking} test images have none"
    needing = [task for task in tasks if "labels" in declared("stages", task, "NEEDS")]
    for where, part in (("training", contents.train), ("test", contents.test)):
        if needing and part.count and not part.labelled:
            yield f"{key}: {', '.join(needing)} measure by labels, and no {where} image has one"
            return
