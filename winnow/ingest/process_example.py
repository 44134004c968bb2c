"""One example on its way into the pool: decoded, corrupted and measured, or dropped with a reason.

Worker processes import this module and receive its classes (winnow/pipeline/executors.py), so it imports
little.
"""

import contextlib
import fcntl
import io
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from PIL import Image

from winnow.config.datasets import Dataset
from winnow.ingest.corruption import corrupt
from winnow.ingest.example import Example, MaskClasses, Unreadable
from winnow.ingest.masks import with_mask
from winnow.ingest.objects import with_objects
from winnow.pool import images

LARGE = 25_000_000  # pixels; decoding takes 6.5 to 16 bytes of memory for each


@dataclass(frozen=True)
class Task:
    """An example of the source, what was decided about it, and a free caption of an earlier example.

    `prefix_crc` is a checksum of this example and all before it.
    """

    example: Example
    trusted: bool
    other: str | None
    prefix_crc: int = 0


@dataclass(frozen=True)
class Rules:
    """What is the same for every example."""

    dataset: Dataset
    seed: int
    classes: Sequence[str]
    captions: Sequence[str]
    masks: MaskClasses | None = None


@dataclass(frozen=True)
class Outcome:
    """A measured image, or the reason why there is none.

    `source` is the source's key, `example.key` that of a copy. `objects` counts what became of the annotated
    objects and of the mask.
    """

    example: Example
    source: str
    trusted: bool
    corruption: str | None
    result: images.Measured | str
    objects: Counter[str] = field(default_factory=Counter)


Group = tuple[int, list[Outcome]]  # of one task: its prefix_crc, and outcomes of the example and its copies


def work(chunk: list[Task], rules: Rules) -> list[Group]:
    """The groups of a chunk of tasks, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on damaged pictures; dropped.parquet has the reasons
        return [(task.prefix_crc, _outcomes(task, rules)) for task in chunk]


def dropped(task: Task, reason: str) -> Outcome:
    """A task's only outcome when nothing of it can be stored."""
    lost = Counter(objects_dropped_without_picture=len(task.example.objects or ()))
    lost["masks_dropped_without_picture"] = int(task.example.mask is not None)
    example = replace(task.example, image=b"", objects=None, mask=None)
    return Outcome(example, example.key, task.trusted, None, reason, +lost)


def _outcomes(task: Task, rules: Rules) -> list[Outcome]:
    """The example and its copies, or one outcome with the reason for dropping it, whatever went wrong."""
    try:
        with _one_large_image_at_a_time(task.example.image):
            return _measured(task, rules)
    except images.UnusableImage as unusable:
        reason = unusable.reason
    except Exception as error:
        reason = f"failed_{type(error).__name__}"
    return [dropped(task, reason)]


def _measured(task: Task, rules: Rules) -> list[Outcome]:
    example, max_pixels = task.example, rules.dataset.max_pixels
    if isinstance(example, Unreadable):
        raise images.UnusableImage(example.reason)
    original = images.measure(example.image, max_pixels)
    file = example.image
    example, objects = with_objects(example, file, original.stored)
    example, mask = with_mask(example, file, original.stored, rules.masks)
    objects.update(mask)
    example = replace(example, image=original.stored.data)
    variants: list[tuple[Example, str | None]] = [(example, None)]
    if example.split == "train" and not task.trusted:
        shares = rules.dataset.corruption
        variants = corrupt(example, shares, rules.classes, rules.seed, rules.captions, task.other)
    outcomes = []
    for variant, kind in variants:
        measured = original if variant.image is example.image else images.measure(variant.image, max_pixels)
        stored = replace(variant, image=b"")
        outcomes.append(Outcome(stored, example.key, task.trusted, kind, measured, objects))
    return outcomes


@contextlib.contextmanager
def _one_large_image_at_a_time(data: bytes) -> Iterator[None]:
    """Hold this machine's lock while a large image is decoded: each takes hundreds of megabytes."""
    with contextlib.ExitStack() as stack:
        if _is_large(data):
            lock = stack.enter_context(open(__file__, "rb"))
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(lock, fcntl.LOCK_EX)  # released when the process ends, however it ends
        yield


def _is_large(data: bytes) -> bool:
    """By the header."""
    try:
        width, height = Image.open(io.BytesIO(data), formats=images.FORMATS).size
    except Exception:  # raised again, with its reason, by the decoder
        return False
    return width * height > LARGE
