"""The stage `ingest`: a source in; shards, the index, and what was left out, out (stages/data/pool.py lists the files).

Each example is standardised (stages/data/images.py), an untrusted training example may be polluted
(stages/data/pollution.py), and the result is measured and stored. What cannot be stored is dropped with its reason:
ingested + dropped == found, where `found` counts what the source offered within `dataset.limit` and the copies that
pollution added.
"""

import importlib
import os
import signal
import threading
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.data import images, pollution
from stages.params import Dataset
from stages.sources import Example
from stages.sources._lost import Lost

if TYPE_CHECKING:
    from stages.stage import Stage

CHUNK_COUNT = 256
CHUNK_BYTES = 8_000_000
ALONE_CHUNKS = 12  # about a second's work: less is done here than it takes to start helpers


@dataclass(frozen=True)
class _Task:
    """An example of the source, what was decided about it, and a free caption of an earlier one."""

    example: Example
    trusted: bool
    other: str | None


@dataclass(frozen=True)
class _Rules:
    """What is the same for every example."""

    dataset: Dataset
    seed: int
    classes: Sequence[str]
    captions: Sequence[str]


@dataclass(frozen=True)
class _Outcome:
    """A measured image or the reason why there is none; `source` is the source's key, `example.key` a copy's own."""

    example: Example
    source: str
    trusted: bool
    dirt: str | None
    result: images.Measured | str


def ingest(stage: "Stage") -> None:
    """Read `dataset.source` into the pool."""
    params = stage.params
    stage.metrics.update(ingest_source(params.dataset, params.seed, stage.work, stage.track))


def ingest_source(dataset: Dataset, seed: int, folder: Path, track: Callable[..., Iterable[Any]]) -> dict[str, int]:
    """Write the pool of one source into an existing folder; returns its counts.

    They are found, copies, ingested, dropped and dropped_REASON. `track(items, description=...)` iterates and shows
    progress.

    Raises:
        ValueError: when the source cannot be read, or not one of its images can be stored.
    """
    source = importlib.import_module(f"stages.sources.{dataset.source}")
    captions: list[str] = source.captions(dataset) if hasattr(source, "captions") else []
    rules = _Rules(dataset, seed, source.classes(dataset), captions)
    counts: Counter[str] = Counter(found=0, copies=0, ingested=0, dropped=0)
    offered = _within_limit(source.read(dataset), dataset.limit, counts)
    outcomes = _in_order(_chunks(_tasks(offered, rules)), partial(_work, rules=rules))
    _store(track(outcomes, description="ingest"), folder, rules.classes, counts)
    counts["found"] += counts["copies"]
    if counts["ingested"] + counts["dropped"] != counts["found"]:
        raise AssertionError(f"ingest lost count: {dict(counts)}")
    if not counts["ingested"]:
        why = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if name.startswith("dropped_"))
        raise ValueError(f"dataset.path: {dataset.path!r}: no image could be ingested of {counts['found']} found ({why})")
    return dict(sorted(counts.items()))


def _within_limit(examples: Iterable[Example], limit: int | None, counts: Counter[str]) -> Iterator[Example]:
    """At most `limit` examples of each split, counted as found."""
    seen: Counter[str] = Counter()
    for example in examples:
        seen[example.split] += 1
        if limit is None or seen[example.split] <= limit:
            counts["found"] += 1
            yield example


def _tasks(examples: Iterable[Example], rules: _Rules) -> Iterator[_Task]:
    """Decide who is trusted, and hand each example the latest caption that differs from its own."""
    last: str | None = None
    before: str | None = None
    for example in examples:
        other = last if last != example.caption else before
        if example.caption is not None and example.caption != last:
            last, before = example.caption, last
        trusted = example.split == "train" and pollution.trusted(example.key, rules.dataset.trusted, rules.seed)
        yield _Task(example, trusted, other)


def _chunks(tasks: Iterable[_Task]) -> Iterator[list[_Task]]:
    """Lists of at most CHUNK_COUNT tasks, closed at CHUNK_BYTES, so that large photographs do not fill the memory."""
    chunk: list[_Task] = []
    size = 0
    for task in tasks:
        chunk.append(task)
        size += len(task.example.image)
        if len(chunk) == CHUNK_COUNT or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _in_order(chunks: Iterable[list[_Task]], work: Callable[[list[_Task]], list[_Outcome]]) -> Iterator[_Outcome]:
    """Work on chunks, in helper processes where there are many, and give the outcomes in the chunks' order."""
    remaining = iter(chunks)
    first = list(islice(remaining, ALONE_CHUNKS))
    if len(first) < ALONE_CHUNKS:
        yield from chain.from_iterable(map(work, first))
        return
    try:
        yield from _with_helpers(chain(first, remaining), work)
    except BrokenProcessPool:
        raise ValueError("dataset.max_pixels: a helper process was killed, most likely for its memory; lower max_pixels") from None


def _with_helpers(chunks: Iterable[list[_Task]], work: Callable[[list[_Task]], list[_Outcome]]) -> Iterator[_Outcome]:
    count = len(os.sched_getaffinity(0))
    waiting: deque[Future[list[_Outcome]]] = deque()
    # spawn: a fork would take along the parent's signal handlers and the locks of its threads
    with ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_be_helper) as helpers:
        for chunk in chunks:
            waiting.append(helpers.submit(work, chunk))
            if len(waiting) > 2 * count:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _be_helper() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it, not even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(chunk: list[_Task], rules: _Rules) -> list[_Outcome]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's words on a damaged picture; dropped.parquet has the reason
        return [outcome for task in chunk for outcome in _outcomes(task, rules)]


def _outcomes(task: _Task, rules: _Rules) -> list[_Outcome]:
    """The example and its copies, if any; or its one reason for being dropped, whatever went wrong with it."""
    try:
        return _stored(task, rules)
    except images.UnusableImage as unusable:
        reason = unusable.reason
    except Exception as error:
        reason = f"failed_{type(error).__name__}"
    example = replace(task.example, image=b"")
    return [_Outcome(example, example.key, task.trusted, None, reason)]


def _stored(task: _Task, rules: _Rules) -> list[_Outcome]:
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
        outcomes.append(_Outcome(replace(variant, image=b""), example.key, task.trusted, dirt, measured))
    return outcomes


def _store(outcomes: Iterable[_Outcome], folder: Path, classes: Sequence[str], counts: Counter[str]) -> None:
    from stages.data.pool import PoolWriter  # here, because helper processes import this module and need no pool

    with PoolWriter(folder, classes) as pool:
        for outcome in outcomes:
            example, result = outcome.example, outcome.result
            counts["copies"] += example.key != outcome.source
            if isinstance(result, str):
                pool.drop(example.key, result)
                counts.update(["dropped", f"dropped_{result}"])
            else:
                pool.add(example, result, trusted=outcome.trusted, dirt=outcome.dirt, source=outcome.source)
                counts["ingested"] += 1


if __name__ == "__main__":
    from stages.stage import main

    main(ingest)
