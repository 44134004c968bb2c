"""What every stage shares: validated params, a work folder that becomes the outs in one step, its cost, and its MLflow run.

A stage module is `def NAME(stage: Stage) -> None` and `main(NAME)`. `main` exits with 2 on a mistake in params.yaml, with 1 and
one line on any other mistake a user can mend (`ValueError`, `OSError`), and lets a bug show its traceback.
"""

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages import progress
from stages.ledger.cost import cost_record
from stages.ledger.energy import EnergyMeter
from stages.ledger.follow import Follower
from stages.params import ROOT, Params, ParamsError, load
from stages.params_check import check_filters, check_plugins

# Stages whose outs do not lie in results/NAME/ARM: the root of their outs, and where metrics.json and cost.json go below it.
PLACES = {"ingest": ("data/pool", ""), "curate": ("data", "versions")}
KEYED = {"refine": "data/versions"}  # not results/NAME/KEY


def place(name: str, arm: str | None = None) -> tuple[Path, Path]:
    """The folder of a stage's outs, and the folder of its metrics.json and cost.json."""
    if name in PLACES:
        root, records = PLACES[name]
        return ROOT / root, ROOT / root / records
    folder = ROOT / KEYED.get(name, f"results/{name}") / (arm or "")
    return folder, folder


@dataclass
class Stage:
    """One execution of one stage; `arm` is what it runs for where it runs once an arm, or once a version.

    `work` is an empty folder; all that it holds after success is moved to `out`, file by file, each in one step.
    `flops` holds what the stage itself spent, by purpose (reference, score, train, evaluate); `metrics` becomes metrics.json.
    """

    name: str
    arm: str | None
    params: Params
    meter: EnergyMeter
    work: Path
    out: Path
    records: Path
    metrics: dict[str, Any] = field(default_factory=dict)
    flops: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """The stage's DVC name, such as `pretrain@supervised-hard`."""
        return f"{self.name}@{self.arm}" if self.arm else self.name

    def track(self, items: Iterable[Any], total: int | None = None, description: str = "") -> Iterator[Any]:
        """Iterate with a progress bar, silent where nobody watches."""
        return progress.track(items, total=total, description=description or self.address)

    def write_records(self) -> None:
        """Write metrics.json (no time, no energy: reproducible) and cost.json beside it, into the work folder."""
        folder = self.work / self.records.relative_to(self.out)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "metrics.json", self.metrics)
        write_json(folder / "cost.json", cost_record(self.address, self.flops, self.meter.stop(), self.facts))

    def commit(self) -> None:
        """Move everything from the work folder to where DVC expects it."""
        for source in sorted(p for p in self.work.rglob("*") if p.is_file()):
            target = self.out / source.relative_to(self.work)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
        shutil.rmtree(self.work)


def write_json(path: Path, value: Any) -> None:
    """Sorted keys and a final newline, so that equal values are equal bytes."""
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def work_folder(address: str) -> Path:
    """Where a stage's outs are made before they are moved; on the same disk as the outs, and ignored by git."""
    return ROOT / ".winnow" / "work" / address


def main(run: Callable[[Stage], None]) -> None:
    """Run one stage from the command line; `--arm NAME` is wanted where the stage runs once an arm, `--version NAME` for refine."""
    name = run.__name__
    option, section = ("version", "versions") if name == "refine" else ("arm", "arms")
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}", description=run.__doc__)
    parser.add_argument(f"--{option}", dest="key", help=f"which of {section} in params.yaml", required=name == "refine")
    arm = parser.parse_args().key
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that finally blocks and the follower see the end
    try:
        params = load()
        allowed = getattr(params, section)
        if arm is not None and arm not in allowed:
            raise ParamsError(f"--{option}: {arm!r} is unknown; allowed: {', '.join(allowed) or 'none, because there are none'}")
        if name in ("ingest", "reference"):  # the first to run, whatever was changed: nothing is spent before a mistake is known
            check_plugins(params)
        elif name in ("curate", "refine"):  # a changed filter runs no earlier stage
            check_filters(params)
    except ParamsError as error:
        _fail(f"params.yaml: {error}", 2)
    _execute(run, name, arm, params)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # everything is written; taking torch apart would cost another 1.5 s


def _execute(run: Callable[[Stage], None], name: str, arm: str | None, params: Params) -> None:
    out, records = place(name, arm)
    address = f"{name}@{arm}" if arm else name
    work = work_folder(address)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    progress.announce(address, params)
    stage = Stage(name, arm, params, EnergyMeter(params.carbon), work, out, records)
    follower = Follower(address, work)
    try:
        run(stage)
        stage.write_records()
        stage.commit()
    except ParamsError as error:
        follower.finish("FAILED")
        _fail(f"params.yaml: {error}", 2)
    except (ValueError, OSError) as error:
        follower.finish("FAILED")
        if os.environ.get("WINNOW_DEBUG"):
            raise
        _fail(f"{address}: {error}", 1)
    except BaseException:
        follower.finish("FAILED")
        raise
    follower.finish("FINISHED", wait=name == "compare")  # the last stage: what comes after it finds everything logged
    progress.done(address, stage.meter.seconds)


def _fail(line: str, code: int) -> None:
    print(" ".join(line.split()), file=sys.stderr, flush=True)
    sys.exit(code)
