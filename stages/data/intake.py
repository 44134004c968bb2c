"""What becomes of one example on its way into the pool: decoded, measured, polluted, or dropped with its reason.

Worker processes import this module (stages/engine.py) and send its classes, so it needs little.
"""

import contextlib
import fcntl
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from stages.data import images, pollution
from stages.params import Dataset
from stages.sources import Example
from stages.sources._lost import Lost

LARGE = 25_000_000  # pixels; 6.5 to 16 bytes of memory are needed for each


@dataclass(frozen=True)
class Task:
    """An example of the source, what was decided about it, and a free caption of an earlier one.

    `seal` is a checksum of this example and all before it.
    """

    example: Example
    trusted: bool
    other: str | None
    seal: int = 0


@dataclass(frozen=True)
class Rules:
    """What is the same for every example."""

    dataset: Dataset
    seed: int
    classes: Sequence[str]
    captions: Sequence[str]


@dataclass(frozen=True)
class Outcome:
    """A measured image or the reason why there is none; `source` is the source's key, `example.key` a copy's own."""

    example: Example
    source: str
    trusted: bool
    dirt: str | None
    result: images.Measured | str


Group = tuple[int, list[Outcome]]  # what became of one task: its seal, and the outcomes of the example and its copies


def work(chunk: list[Task], rules: Rules) -> list[Group]:
    """The groups of a chunk of tasks, in order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's words on a damaged picture; dropped.parquet has the reason
        return [(task.seal, _outcomes(task, rules)) for task in chunk]


def _outcomes(task: Task, rules: Rules) -> list[Outcome]:
    """The example and its copies, if any; or its one reason for being dropped, whatever went wrong with it."""
    try:
        with _turn(task.example.image):
            return _stored(task, rules)
    except images.UnusableImage as unusable:
        reason = unusable.reason
    except Exception as error:
        reason = f"failed_{type(error).__name__}"
    return [dropped(task, reason)]


def dropped(task: Task, reason: str) -> Outcome:
    """A task's one outcome when nothing of it can be stored."""
    example = replace(task.example, image=b"")
    return Outcome(example, example.key, task.trusted, None, reason)


def _stored(task: Task, rules: Rules) -> list[Outcome]:
    example, max_pixels = task.example, rules.dataset.max_pixels
    if isinstance(example, Lost):
        raise images.UnusableImage(example.reason)
    original = images.measure(example.image, max_pixels)
    example = replace(example, image=original.stored.data)
    made: list[tuple[Example, str | None]] = [(example, None)]
    if example.split == "train" and not task.trusted:
        wanted = rules.dataset.pollution
        made = pollution.pollute(example, wanted, rules.classes, rules.seed, rules.captions, task.other)
    outcomes = []
    for variant, dirt in made:
        measured = original if variant.image is example.image else images.measure(variant.image, max_pixels)
        outcomes.append(Outcome(replace(variant, image=b""), example.key, task.trusted, dirt, measured))
    return outcomes


@contextlib.contextmanager
def _turn(data: bytes) -> Iterator[None]:
    """Large pictures are decoded one at a time on one machine: each takes hundreds of megabytes."""
    with contextlib.ExitStack() as held:
        if _large(data):
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(held.enter_context(open(__file__, "rb")), fcntl.LOCK_EX)  # ends with its process, however that ends
        yield


def _large(data: bytes) -> bool:
    """By the header."""
    try:
        width, height = Image.open(io.BytesIO(data), formats=images.FORMATS).size
    except Exception:  # said again, with its reason, by who decodes it
        return False
    return width * height > LARGE
