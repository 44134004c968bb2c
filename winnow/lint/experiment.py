"""`winnow lint params.yaml`: what the chosen experiment will miss in its data set, before anything runs.

A line of `missing` stops a stage or leaves a figure out; `remarks` are choices that a person may not have
meant. Both count what the source offers: filters drop some of it later.
"""

from collections.abc import Iterator
from statistics import median

from winnow.config.proposals import image_size
from winnow.config.schema import Dataset, Params
from winnow.lint.contents import Contents, Part

FAR = 2.0  # pictures are this many times larger than what they are trained at


def missing(params: Params, dataset: Dataset, contents: Contents) -> Iterator[str]:
    """What is not there, one line for each, with the key that asks for it and the mend.

    Args:
        dataset: the block that the contents were read by.
        contents: of the whole source; `dataset.limit` is applied here.
    """
    train, test = (_limited(part.count, dataset) for part in (contents.train, contents.test))
    yield from _needs(params, contents.train)
    yield from _splits(params, dataset, train, test)
    yield from _labels_of_tasks(params, contents)
    smallest = min((params.methods[arm.method].batch_size for arm in params.arms.values()), default=0)
    if 0 < train < smallest:
        yield f"methods.*.batch_size: at least {smallest}, and there are {train} images to train on; lower it"


def remarks(params: Params, contents: Contents) -> Iterator[str]:
    """What works, and may surprise."""
    if contents.sides:
        middle = median(contents.sides)
        for name in sorted({arm.backbone for arm in params.arms.values()}):
            size = params.backbones[name].image_size
            if middle >= FAR * size:
                given = f"backbones.{name}.image_size: {size}, and the median shorter side is {middle:.0f} px"
                yield f"{given}; no arm sees that detail, image_size {image_size(contents.sides)} shows it"
    if params.scale == "debug":
        yield "scale: debug, so every figure is wiring, not a result"
    labelled = [name for name, arm in params.arms.items() if "labels" in _reads(arm.method)]
    if labelled and len(contents.train.classes) == 1:
        yield f"arms {', '.join(labelled)} learn from labels, and all labels are of one class"


def _reads(method: str) -> frozenset[str]:
    """What a method needs of an example, of labels and captions."""
    from models import methods  # imports torch

    return methods.load(method).Method.NEEDS


def _limited(count: int, dataset: Dataset) -> int:
    return count if dataset.limit is None else min(count, dataset.limit)


def _needs(params: Params, train: Part) -> Iterator[str]:
    """Labels and captions that a method reads."""
    users: dict[str, list[str]] = {}
    for name, arm in params.arms.items():
        users.setdefault(arm.method, []).append(f"arms.{name}")
    for method in params.reference.methods:
        users.setdefault(method, []).append("reference.methods")
    having = {"labels": train.labelled, "captions": train.captioned}
    others = {"labels": "simclr or dino", "captions": "simclr, dino or supervised"}
    for method, keys in users.items():
        for need in sorted(_reads(method) & having.keys()):
            if train.count and having[need] < train.count:
                lacking = f"{train.count - having[need]:,} of {train.count:,} training images have none"
                yield f"{', '.join(keys)}: {method} needs {need}, and {lacking}; take {others[need]}"


def _splits(params: Params, dataset: Dataset, train: int, test: int) -> Iterator[str]:
    """Whether curate.splits can be filled."""
    splits = params.curate.splits
    asked = {"reference": splits.reference, "probe": splits.probe, "val": splits.val}
    trusted = int(dataset.trusted * train)
    if sum(asked.values()) > trusted:
        given = " + ".join(f"{name} {count:,}" for name, count in asked.items())
        offered = f"dataset.trusted {dataset.trusted:g} of {train:,} training images is {trusted:,}"
        yield f"curate.splits: {given} is {sum(asked.values()):,}, and {offered}; lower them, or raise it"
    if test == 0:
        yield f"curate.splits.test: {splits.test:,}, and the source has no test split; add one to its files"
    elif splits.test > test:
        yield f"curate.splits.test: {splits.test:,}, and the source's test split has {test:,}; lower it"


def _labels_of_tasks(params: Params, contents: Contents) -> Iterator[str]:
    for where, part in (("training", contents.train), ("test", contents.test)):
        if params.tasks and part.count and not part.labelled:
            tasks = ", ".join(f"tasks.{name}" for name in params.tasks)
            yield f"{tasks}: they measure by labels, and no {where} image has one"
            return
