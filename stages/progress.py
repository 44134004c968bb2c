"""What a person sees: `stage k of n`, the time left, and bars on long work; where the output is no terminal, a line now and then."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from stages.params import ROOT, Params

TIMINGS = ROOT / ".winnow" / "seconds.json"
LINE_SECONDS = 30.0


def track(
    items: Iterable[Any],
    total: int | None = None,
    description: str = "",
    done: int = 0,
    told: Callable[[], str] | None = None,
) -> Iterator[Any]:
    """Iterate with rich's bar on a terminal; without one, with a line of text every `LINE_SECONDS`.

    `total` counts all items, if known; the first `done` of them were dealt with by an earlier run. `told` says in words what was
    reached; without it the items are counted.
    """
    if not sys.stderr.isatty():
        yield from _lines(items, total, description, done, told)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    words = [TextColumn("{task.fields[told]}")] if told else []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *words, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(description, total=total, completed=done, told="")
        for item in items:
            yield item
            bar.update(task, advance=1, told=told() if told else "")


def _lines(items: Iterable[Any], total: int | None, description: str, done: int, told: Callable[[], str] | None) -> Iterator[Any]:
    begin = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= LINE_SECONDS:
            last = now
            words = told() if told else f"{done + count:,} done"
            print(line(description, words, count, now - begin, total and total - done - count), file=sys.stderr, flush=True)


def line(description: str, words: str, count: int, seconds: float, left: int | None) -> str:
    """`ingest: 12,000 stored, 31 dropped, 410/s, about 4 min left`: `count` items in so many seconds, `left` yet to do, if known."""
    rate = count / seconds
    eta = f", about {_clock(left / rate)} left" if left is not None and left > 0 else ""
    return f"{description}: {words}, {rate:,.{0 if rate >= 10 else 1}f}/s{eta}"


def execution() -> str:
    """What names this execution of the pipeline: $WINNOW_EXECUTION, or the dvc process that all its stages descend from."""
    if named := os.environ.get("WINNOW_EXECUTION"):
        return named
    import psutil

    dvc = [p for p in psutil.Process().parents() if "dvc" in " ".join(p.cmdline()[:3]) and "repro" in p.cmdline()]
    top = dvc[-1] if dvc else psutil.Process()
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(top.create_time())) + f"-{top.pid}"


def announce(address: str, params: Params) -> None:
    """Print `[k/n] STAGE` with the time left, as far as the timings of earlier runs (or the committed ones) tell."""
    path = ROOT / ".winnow" / "executions" / f"{execution()}.json"
    state = _read(path, {"planned": [], "done": []})
    after = downstream(address)
    state["planned"] = sorted({*state["planned"], *after})
    _write(path, state)
    left = [name for name in state["planned"] if name not in state["done"]]
    seconds = sum(_typical(name, params) for name in left)
    k, n = len(state["planned"]) - len(left) + 1, len(state["planned"])
    print(f"[{k}/{n}] {address}: about {_clock(seconds)} left in all", flush=True)


def done(address: str, seconds: float) -> None:
    """Remember that the stage is done, and how long stages of its kind take here."""
    path = ROOT / ".winnow" / "executions" / f"{execution()}.json"
    state = _read(path, {"planned": [address], "done": []})
    state["done"] = sorted({*state["done"], address})
    _write(path, state)
    timings = _read(TIMINGS, {})
    kind = address.split("@")[0]
    timings[kind] = round(seconds if kind not in timings else 0.5 * (timings[kind] + seconds), 2)
    _write(TIMINGS, timings)
    print(f"      {address}: done in {_clock(seconds)}", flush=True)


def downstream(address: str) -> set[str]:
    """The stage and all that depend on it, by the paths in dvc.yaml."""
    graph, found, frontier = _graph(), {address}, [address]
    while frontier:
        current = frontier.pop()
        fresh = [name for name, needs in graph.items() if current in needs and name not in found]
        found.update(fresh)
        frontier.extend(fresh)
    return found


def stage_names() -> list[str]:
    """Every stage of the DAG by its DVC name, in the order of dvc.yaml."""
    return list(_graph())


@cache
def _graph() -> dict[str, set[str]]:
    """stage -> the stages it needs. A reading of dvc.yaml that costs no import of DVC; a test compares it with `dvc dag`."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    stages: dict[str, tuple[list[str], list[str]]] = {}
    for name, block in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        body = block.get("do", block)
        for key, item in params[block["foreach"][2:-1]].items() if "do" in block else [(None, {})]:
            needs, makes = (_paths(body, kinds, key, item) for kinds in (("deps",), ("outs", "metrics", "plots")))
            stages[f"{name}@{key}" if key else name] = (needs, makes)
    return {
        name: {other for other, (_, makes) in stages.items() if other != name and _touch(needs, makes)}
        for name, (needs, _) in stages.items()
    }


def _paths(body: dict[str, Any], kinds: tuple[str, ...], key: str | None, item: dict[str, Any]) -> list[str]:
    entries = [next(iter(e)) if isinstance(e, dict) else e for kind in kinds for e in body.get(kind, [])]
    for field, value in {"key": key, **{f"item.{k}": v for k, v in item.items()}}.items():
        entries = [e.replace("${" + field + "}", str(value)) for e in entries]
    return entries


def _touch(needs: list[str], makes: list[str]) -> bool:
    return any(n == m or n.startswith(m + "/") or m.startswith(n.rstrip("/") + "/") for n in needs for m in makes)


def _typical(address: str, params: Params) -> float:
    kind = address.split("@")[0]
    return float(_read(TIMINGS, {}).get(kind, params.typical_seconds.get(kind, 0.0)))


def _clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _read(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
    partial.replace(path)
