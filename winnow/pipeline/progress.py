"""What a person sees of long work: a bar with total, rate and time left; off a terminal, a line now and
then.
"""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from typing import Any

LINE_SECONDS = 30.0


def track(
    items: Iterable[Any],
    total: int | None = None,
    description: str = "",
    done: int = 0,
    status: Callable[[], str] | None = None,
    unit: str = "it",
    per: int = 1,
) -> Iterator[Any]:
    """Iterate with rich's bar on a terminal; without one, with a line of text every `LINE_SECONDS`.

    Args:
        total: how many items there are, if known, the first `done` of which were dealt with by an earlier
            run; of a range of steps both are known by themselves.
        status: says in words what was reached; without it the items are counted.
        unit: of the rate, such as img or step.
        per: how many of that unit an item is.
    """
    if total is None and isinstance(items, range) and items.step == 1:
        total, done = items.stop, items.start
    elif total is None and isinstance(items, Sized):
        total = len(items) + done
    if not sys.stderr.isatty():
        yield from _lines(items, total, description, done, status, unit, per)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    words = [TextColumn("{task.fields[status]}")] if status else []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *words)
    columns += (TextColumn("{task.fields[rate]}"),)
    with Progress(
        *columns, TimeElapsedColumn(), Remaining(), console=Console(stderr=True), transient=True
    ) as bar:
        task = bar.add_task(description, total=total, completed=done, status="", rate="")
        begin = time.monotonic()
        for count, item in enumerate(items, 1):
            yield item
            speed = rate(count * per, time.monotonic() - begin, unit)
            bar.update(task, advance=1, status=status() if status else "", rate=speed)


def _lines(
    items: Iterable[Any],
    total: int | None,
    description: str,
    done: int,
    status: Callable[[], str] | None,
    unit: str,
    per: int,
) -> Iterator[Any]:
    begin = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= LINE_SECONDS:
            last = now
            words = status() if status else f"{done + count:,}{f' of {total:,}' if total else ''} done"
            left = (total - done - count) * per if total else None
            print(line(description, words, count * per, now - begin, left, unit), file=sys.stderr, flush=True)


def line(description: str, words: str, count: int, seconds: float, left: int | None, unit: str = "it") -> str:
    """`ingest: 12,000 stored, 31 dropped, 410 img/s, about 4 min left`: `count` of a unit in so many seconds,
    `left` yet to do, if known.
    """
    eta = f", about {clock(left * seconds / count)} left" if left is not None and left > 0 else ""
    return f"{description}: {words}, {rate(count, seconds, unit)}{eta}"


def rate(count: float, seconds: float, unit: str) -> str:
    """`410 img/s`, `1.5 step/s`, and of slow work `0.25 it/s`."""
    speed = count / max(seconds, 1e-9)
    return f"{speed:,.{0 if speed >= 10 else 1 if speed >= 1 else 2}f} {unit}/s"


def clock(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
