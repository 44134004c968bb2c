"""The stage `ingest`: a source in; shards, the index, and what was left out, out (stages/data/pool.py lists the files).

Each example is standardised (stages/data/images.py), an untrusted training example may be polluted
(stages/data/pollution.py), and the result is measured (stages/data/intake.py) and stored. What cannot be stored is
dropped with its reason: ingested + dropped == found, where `found` counts what the source offered within `dataset.limit`
and the copies that pollution added.

A run that was stopped is gone on with at its last whole shard, and ends with the bytes of an unbroken one. The source is
read again up to there, because captions, limits and counts depend on it, and compared by a checksum; it is not decoded again.
"""

import importlib
import shutil
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.data import pollution
from stages.data.intake import Group, Outcome, Rules, Task, dropped, work
from stages.engine import ordered
from stages.params import Dataset
from stages.sources import Example

if TYPE_CHECKING:
    from stages.data.parts import Begun
    from stages.data.pool_writer import PoolWriter
    from stages.stage import Stage

CHUNK_COUNT = 256
CHUNK_BYTES = 8_000_000
ALONE_CHUNKS = 12  # about a second's work: less is done here than it takes to start helpers


@dataclass(frozen=True)
class _Reached:
    """How far the whole shards go: `tasks` examples are in them, and the first `within` outcomes of the next, which has this seal."""

    tasks: int = 0
    within: int = 0
    seal: int = 0
    counts: dict[str, int] = field(default_factory=dict)


def ingest(stage: "Stage") -> None:
    """Read `dataset.source` into the pool."""
    from stages import progress
    from stages.data import partial as unfinished

    params = stage.params
    folder = unfinished.claim(params.dataset, params.seed)
    counts = ingest_source(params.dataset, params.seed, folder, progress.track, params.engine.cluster, resume=True)
    stage.metrics.update(counts)
    unfinished.deliver(folder, stage.work)


def ingest_source(
    dataset: Dataset,
    seed: int,
    folder: Path,
    track: Callable[..., Iterable[Any]],
    cluster: str | None = None,
    resume: bool = False,
) -> dict[str, int]:
    """Write the pool of one source into an existing folder; returns its counts.

    They are found, copies, ingested, dropped and dropped_REASON. `track(items, description=, total=, done=, told=)` iterates and
    shows progress. `cluster` is stages/engine.py's. With `resume`, what a run that was stopped left in the folder is kept, and
    anything that is not of this source is thrown away.

    Raises:
        ValueError: when the source cannot be read, or not one of its images can be stored.
    """
    from stages.data.parts import Begun  # here, because helper processes import this module and write no pool
    from stages.data.pool_writer import PoolWriter

    source = importlib.import_module(f"stages.sources.{dataset.source}")
    captions: list[str] = source.captions(dataset) if hasattr(source, "captions") else []
    rules = Rules(dataset, seed, source.classes(dataset), captions)
    counts: Counter[str] = Counter()

    def offered() -> Iterator[Task]:
        counts.clear()
        counts.update(found=0, copies=0, ingested=0, dropped=0)
        return _tasks(_within_limit(source.read(dataset), dataset.limit, counts), rules)

    begun, tasks = _resumed(folder, offered) if resume else (Begun(), offered())
    reached = _Reached(**begun.reached)
    counts.update(reached.counts)
    groups = _in_order(_chunks(tasks), partial(work, rules=rules), cluster)
    total = source.count(dataset) if hasattr(source, "count") and dataset.limit is None else None
    shown = track(groups, description="ingest", total=total, done=reached.tasks, told=lambda: _told(counts))
    with PoolWriter(folder, rules.classes, begun) as pool:
        _store(shown, pool, counts, reached)
    counts["found"] += counts["copies"]
    if counts["ingested"] + counts["dropped"] != counts["found"]:
        raise AssertionError(f"ingest lost count: {dict(counts)}")
    if not counts["ingested"]:
        why = ", ".join(f"{name} {n}" for name, n in sorted(counts.items()) if name.startswith("dropped_"))
        raise ValueError(f"dataset.path: {dataset.path!r}: no image could be ingested of {counts['found']} found ({why})")
    return dict(sorted(counts.items()))


def _told(counts: Counter[str]) -> str:
    return f"{counts['ingested']:,} stored, {counts['dropped']:,} dropped"


def _resumed(folder: Path, offered: Callable[[], Iterator[Task]]) -> "tuple[Begun, Iterator[Task]]":
    """The whole shards in a folder and the tasks that are not in them; where the source has changed, none and all."""
    from stages.data.parts import Begun

    begun = Begun.load(folder)
    if begun is not None:
        reached, tasks = _Reached(**begun.reached), offered()
        next_one = deque(islice(tasks, reached.tasks + 1), maxlen=1)
        if next_one and next_one[0].seal == reached.seal:
            print(f"      ingest: goes on after the first {begun.count:,} images", flush=True)
            return begun, chain(next_one, tasks)
    shutil.rmtree(folder)
    folder.mkdir()
    return Begun(), offered()


def _within_limit(examples: Iterable[Example], limit: int | None, counts: Counter[str]) -> Iterator[Example]:
    """At most `limit` examples of each split, counted as found."""
    seen: Counter[str] = Counter()
    for example in examples:
        seen[example.split] += 1
        if limit is None or seen[example.split] <= limit:
            counts["found"] += 1
            yield example


def _tasks(examples: Iterable[Example], rules: Rules) -> Iterator[Task]:
    """Decide who is trusted, and hand each example the latest caption that differs from its own."""
    last: str | None = None
    before: str | None = None
    seal = 0
    for example in examples:
        other = last if last != example.caption else before
        if example.caption is not None and example.caption != last:
            last, before = example.caption, last
        trusted = example.split == "train" and pollution.trusted(example.key, rules.dataset.trusted, rules.seed)
        seal = zlib.crc32(repr(replace(example, image=b"")).encode("utf-8", "backslashreplace"), zlib.crc32(example.image, seal))
        yield Task(example, trusted, other, seal)


def _chunks(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Lists of at most CHUNK_COUNT tasks, closed at CHUNK_BYTES, so that large photographs do not fill the memory."""
    chunk: list[Task] = []
    size = 0
    for task in tasks:
        chunk.append(task)
        size += len(task.example.image)
        if len(chunk) == CHUNK_COUNT or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _in_order(chunks: Iterable[list[Task]], do: Callable[[list[Task]], list[Group]], cluster: str | None) -> Iterator[Group]:
    """Work on chunks, in helper processes where there are many, and give each task's outcomes in the tasks' order."""
    remaining = iter(chunks)
    first = list(islice(remaining, ALONE_CHUNKS)) if cluster is None else []
    if cluster is None and len(first) < ALONE_CHUNKS:
        yield from chain.from_iterable(map(do, first))
        return
    killed = partial(_one_by_one, do=do, cluster=cluster)
    yield from chain.from_iterable(ordered(do, chain(first, remaining), cluster, killed))


def _one_by_one(chunk: list[Task], do: Callable[[list[Task]], list[Group]], cluster: str | None) -> list[Group]:
    """What becomes of a chunk that ends its worker: the one task that does so alone is dropped."""
    if len(chunk) == 1:
        return [(chunk[0].seal, [dropped(chunk[0], "killed_worker")])]
    killed = partial(_one_by_one, do=do, cluster=cluster)
    return list(chain.from_iterable(ordered(do, ([task] for task in chunk), cluster, killed)))


def _store(groups: Iterable[Group], pool: "PoolWriter", counts: Counter[str], reached: _Reached) -> None:
    """Write what came out, but not the outcomes that stand in whole shards already."""
    skip = reached.within
    for number, (seal, outcomes) in enumerate(groups, reached.tasks):
        for place, outcome in enumerate(outcomes[skip:], skip):
            kept = {name: count for name, count in counts.items() if name != "found"}  # the source is ahead
            pool.reached = {"tasks": number, "within": place, "seal": seal, "counts": kept}
            _store_one(outcome, pool, counts)
        skip = 0


def _store_one(outcome: Outcome, pool: "PoolWriter", counts: Counter[str]) -> None:
    example, result = outcome.example, outcome.result
    if isinstance(result, str):
        pool.drop(example.key, result)
        counts.update(["dropped", f"dropped_{result}"])
    else:
        pool.add(example, result, trusted=outcome.trusted, dirt=outcome.dirt, source=outcome.source)
        counts["ingested"] += 1
    counts["copies"] += example.key != outcome.source


if __name__ == "__main__":
    from stages.ingest import ingest as importable  # a function of __main__ could not be sent to a worker elsewhere
    from stages.stage import main

    main(importable)
