"""What a person sees: `stage k of n`, the time left, and bars on long work; off a terminal, a line now and
then.
"""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from winnow.config.schema import Params
from winnow.pipeline.execution import execution
from winnow.pipeline.files import replacing
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace

LINE_SECONDS = 30.0


def track(
    items: Iterable[Any],
    total: int | None = None,
    description: str = "",
    done: int = 0,
    status: Callable[[], str] | None = None,
) -> Iterator[Any]:
    """Iterate with rich's bar on a terminal; without one, with a line of text every `LINE_SECONDS`.

    Args:
        total: how many items there are, if known, the first `done` of which were dealt with by an earlier
            run.
        status: says in words what was reached; without it the items are counted.
    """
    if not sys.stderr.isatty():
        yield from _lines(items, total, description, done, status)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    words = [TextColumn("{task.fields[status]}")] if status else []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *words)
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), Remaining(), console=console, transient=True) as bar:
        task = bar.add_task(description, total=total, completed=done, status="")
        for item in items:
            yield item
            bar.update(task, advance=1, status=status() if status else "")


def _lines(
    items: Iterable[Any], total: int | None, description: str, done: int, status: Callable[[], str] | None
) -> Iterator[Any]:
    begin = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= LINE_SECONDS:
            last = now
            words = status() if status else f"{done + count:,} done"
            left = total and total - done - count
            print(line(description, words, count, now - begin, left), file=sys.stderr, flush=True)


def line(description: str, words: str, count: int, seconds: float, left: int | None) -> str:
    """`ingest: 12,000 stored, 31 dropped, 410/s, about 4 min left`: `count` items in so many seconds, `left`
    yet to do, if known.
    """
    rate = count / seconds
    eta = f", about {_clock(left / rate)} left" if left is not None and left > 0 else ""
    return f"{description}: {words}, {rate:,.{0 if rate >= 10 else 1}f}/s{eta}"


class Timings:
    """How far an execution of the pipeline is, and how long its stages take on this machine."""

    def __init__(self, workspace: Workspace, params: Params) -> None:
        self.workspace, self.typical = workspace, params.typical_seconds
        self._seconds = workspace.hidden / "seconds.json"
        self._state = workspace.hidden / "executions" / f"{execution()}.json"

    def announce(self, address: str) -> None:
        """Print `[k/n] STAGE` with the time left, as far as earlier runs (or the committed timings) tell."""
        state = _read(self._state, {"planned": [], "done": []})
        state["planned"] = sorted({*state["planned"], *Stages.read(self.workspace.root).downstream(address)})
        _write(self._state, state)
        left = [name for name in state["planned"] if name not in state["done"]]
        k, n = len(state["planned"]) - len(left) + 1, len(state["planned"])
        seconds = sum(self._of(name) for name in left)
        print(f"[{k}/{n}] {address}: about {_clock(seconds)} left in all", flush=True)

    def done(self, address: str, seconds: float) -> None:
        """Remember that the stage is done, and how long stages of its kind take here."""
        state = _read(self._state, {"planned": [address], "done": []})
        state["done"] = sorted({*state["done"], address})
        _write(self._state, state)
        kind, known = address.split("@")[0], _read(self._seconds, {})
        known[kind] = round(seconds if kind not in known else 0.5 * (known[kind] + seconds), 2)
        _write(self._seconds, known)
        print(f"      {address}: done in {_clock(seconds)}", flush=True)

    def _of(self, address: str) -> float:
        kind = address.split("@")[0]
        return float(_read(self._seconds, {}).get(kind, self.typical.get(kind, 0.0)))


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _read(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def _write(path: Path, value: Any) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
