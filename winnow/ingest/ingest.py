"""Ingest: convert a source into shards, an index and a list of dropped examples (winnow/pool/pool.py).

Each example is standardised (winnow/pool/images.py), an untrusted training example may be corrupted
(winnow/ingest/corruption.py), and the result is measured (winnow/ingest/process_example.py) and stored. What
cannot be stored is dropped with its reason: ingested + dropped == found, where `found` counts what the source
offered within `dataset.limit` and the copies that corruption added.

An interrupted run resumes from its last complete shard, and ends with the bytes of an uninterrupted one. The
source is read again up to there, because captions, limits and counts depend on it, and compared by a
checksum; it is not decoded again.
"""

import shutil
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from winnow.config.datasets import Dataset
from winnow.config.plugins import load_plugin
from winnow.ingest import corruption
from winnow.ingest.example import Example, MaskClasses
from winnow.ingest.masks import masks_line
from winnow.ingest.objects import objects_line
from winnow.ingest.process_example import Group, Outcome, Rules, Task, dropped, work
from winnow.ingest.table_parts import ResumeState
from winnow.ingest.writer import PoolWriter
from winnow.pipeline.executors import ordered

CHUNK_COUNT = 256
CHUNK_BYTES = 8_000_000
ALONE_CHUNKS = 12  # about a second of work: starting helper processes would take longer


@dataclass(frozen=True)
class _ResumePoint:
    """How far the complete shards reach into the source.

    They hold `tasks` examples, and of the next, which has this `prefix_crc`, the first `within` outcomes.
    """

    tasks: int = 0
    within: int = 0
    prefix_crc: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def ingest_source(
    dataset: Dataset,
    seed: int,
    folder: Path,
    track: Callable[..., Iterable[Any]],
    cluster: str | None = None,
    resume: bool = False,
) -> dict[str, int]:
    """Write the pool of one source into an existing folder.

    Args:
        track: iterates over items and shows progress, as winnow.pipeline.progress.track.
        cluster: that of winnow/pipeline/executors.py.
        resume: keep what an interrupted run left in the folder, and delete it if it is not of this source.

    Returns:
        The counts found, copies, ingested, dropped and dropped_REASON; of an annotated source also those of
        `objects_line` and `masks_line`.

    Raises:
        ValueError: if the source cannot be read, or none of its images can be stored.
    """
    source = load_plugin("winnow.sources", str(dataset.source))
    captions: list[str] = source.captions(dataset) if hasattr(source, "captions") else []
    masks: MaskClasses | None = source.mask_classes(dataset) if hasattr(source, "mask_classes") else None
    rules = Rules(dataset, seed, source.classes(dataset) if dataset.labels else [], captions, masks)
    counts: Counter[str] = Counter()

    def offered() -> Iterator[Task]:
        counts.clear()
        counts.update(found=0, copies=0, ingested=0, dropped=0)
        return _tasks(_within_limit(source.read(dataset), dataset.limit, counts), rules)

    state, tasks = _resumed(folder, offered) if resume else (ResumeState(), offered())
    point = _ResumePoint(**state.progress)
    counts.update(point.counts)
    groups = _in_order(_chunks(tasks), partial(work, rules=rules), cluster)
    total = source.count(dataset) if hasattr(source, "count") and dataset.limit is None else None
    status = partial(_status, counts)
    shown = track(groups, description="ingest", total=total, done=point.tasks, status=status, unit="img")
    with PoolWriter(folder, rules.classes, state, masks.names if masks else ()) as pool:
        _store(shown, pool, counts, point)
    counts["found"] += counts["copies"]
    _check(counts, dataset)
    for line in filter(None, (objects_line(counts), masks_line(counts))):
        print(f"      ingest: {line}", flush=True)
    return dict(sorted(counts.items()))


def _check(counts: Counter[str], dataset: Dataset) -> None:
    if counts["ingested"] + counts["dropped"] != counts["found"]:
        raise AssertionError(f"ingest lost count: {dict(counts)}")
    if not counts["ingested"]:
        why = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if name.startswith("dropped_"))
        found = f"no image could be ingested of {counts['found']} found ({why})"
        raise ValueError(f"dataset.path: {dataset.path!r}: {found}")
    if (line := masks_line(counts)) and not counts["masks"]:
        raise ValueError(
            f"dataset.path: {dataset.path!r}: no mask can be used ({line}); mend them, or their classes"
        )


def _status(counts: Counter[str]) -> str:
    return f"{counts['ingested']:,} stored, {counts['dropped']:,} dropped"


def _resumed(folder: Path, offered: Callable[[], Iterator[Task]]) -> tuple[ResumeState, Iterator[Task]]:
    """The complete shards in a folder and the remaining tasks; none and all if the source has changed."""
    state = ResumeState.load(folder)
    if state is not None:
        point, tasks = _ResumePoint(**state.progress), offered()
        next_one = deque(islice(tasks, point.tasks + 1), maxlen=1)
        if next_one and next_one[0].prefix_crc == point.prefix_crc:
            print(f"      ingest: resumes after the first {state.count:,} images", flush=True)
            return state, chain(next_one, tasks)
    shutil.rmtree(folder)
    folder.mkdir()
    return ResumeState(), offered()


def _within_limit(examples: Iterable[Example], limit: int | None, counts: Counter[str]) -> Iterator[Example]:
    """At most `limit` examples of each split, counted as found."""
    seen: Counter[str] = Counter()
    for example in examples:
        seen[example.split] += 1
        if limit is None or seen[example.split] <= limit:
            counts["found"] += 1
            yield example


def _tasks(examples: Iterable[Example], rules: Rules) -> Iterator[Task]:
    """Decide which examples are trusted, and give each the latest caption that differs from its own."""
    last: str | None = None
    before: str | None = None
    prefix_crc, share = 0, rules.dataset.trusted
    for example in examples:
        if not rules.dataset.labels:
            example = replace(example, label=None)
        other = last if last != example.caption else before
        if example.caption is not None and example.caption != last:
            last, before = example.caption, last
        trusted = example.split == "train" and corruption.trusted(example.key, share, rules.seed)
        prefix_crc = zlib.crc32(example.mask or b"", zlib.crc32(example.image, prefix_crc))
        text = repr(replace(example, image=b"", mask=None)).encode("utf-8", "backslashreplace")
        prefix_crc = zlib.crc32(text, prefix_crc)
        yield Task(example, trusted, other, prefix_crc)


def _chunks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Lists of at most CHUNK_COUNT tasks, closed at CHUNK_BYTES because photographs could fill the memory."""
    chunk: list[Task] = []
    size = 0
    for task in tasks:
        chunk.append(task)
        size += len(task.example.image) + len(task.example.mask or b"")
        if len(chunk) == CHUNK_COUNT or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _in_order(
    chunks: Iterable[list[Task]], do: Callable[[list[Task]], list[Group]], cluster: str | None
) -> Iterator[Group]:
    """The groups of all chunks, in the order of their tasks; helper processes work on many chunks."""
    remaining = iter(chunks)
    first = list(islice(remaining, ALONE_CHUNKS)) if cluster is None else []
    if cluster is None and len(first) < ALONE_CHUNKS:
        yield from chain.from_iterable(map(do, first))
        return
    killed = partial(_one_by_one, do=do, cluster=cluster)
    yield from chain.from_iterable(ordered(do, chain(first, remaining), cluster, killed))


def _one_by_one(
    chunk: list[Task], do: Callable[[list[Task]], list[Group]], cluster: str | None
) -> list[Group]:
    """The groups of a chunk that kills its worker: the one task that does so by itself is dropped."""
    if len(chunk) == 1:
        return [(chunk[0].prefix_crc, [dropped(chunk[0], "killed_worker")])]
    killed = partial(_one_by_one, do=do, cluster=cluster)
    return list(chain.from_iterable(ordered(do, ([task] for task in chunk), cluster, killed)))


def _store(groups: Iterable[Group], pool: PoolWriter, counts: Counter[str], point: _ResumePoint) -> None:
    """Write the outcomes, except for those that complete shards already hold."""
    skip = point.within
    for number, (prefix_crc, outcomes) in enumerate(groups, point.tasks):
        for place, outcome in enumerate(outcomes[skip:], skip):
            kept = {name: n for name, n in counts.items() if name != "found"}  # the source is further ahead
            pool.progress = vars(_ResumePoint(number, place, prefix_crc, kept))
            _store_one(outcome, pool, counts)
        skip = 0


def _store_one(outcome: Outcome, pool: PoolWriter, counts: Counter[str]) -> None:
    example, result = outcome.example, outcome.result
    if isinstance(result, str):
        pool.drop(example.key, result)
        counts.update(["dropped", f"dropped_{result}"])
    else:
        pool.add(
            example, result, trusted=outcome.trusted, corruption=outcome.corruption, source=outcome.source
        )
        counts["ingested"] += 1
    counts.update(outcome.objects)
    counts["copies"] += example.key != outcome.source
