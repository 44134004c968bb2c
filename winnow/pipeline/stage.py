"""What every stage shares: validated params, a work folder that becomes the outs in one step, its cost, its
MLflow run.

A stage module is `def NAME(stage: Stage) -> None` and `main(NAME)`. `main` exits with 2 on a mistake in
params.yaml, with 1 and one line on any other mistake that a user can mend (`ValueError`, `OSError`), and lets
a bug show its traceback.
"""

import argparse
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from winnow.config.errors import ParamsError
from winnow.config.load import load
from winnow.config.parse import plugin_config
from winnow.config.schema import Params
from winnow.ledger.cost import UNMEASURED, cost_record
from winnow.ledger.energy import Energy, EnergyMeter
from winnow.pipeline.attempts import Attempts, spent_file, together
from winnow.pipeline.errors import TableError
from winnow.pipeline.execution import end_with_dvc, execution
from winnow.pipeline.files import write_json
from winnow.pipeline.follower import Follower
from winnow.pipeline.lock import exclusive
from winnow.pipeline.progress import track
from winnow.pipeline.stages import Entry, Stages
from winnow.pipeline.timings import Timings
from winnow.pipeline.workspace import Workspace

Check = Callable[[Params], None]


@dataclass
class Stage:
    """One execution of one stage; `key` is what it runs for where it runs once an arm, or once a version.

    `work` is an empty folder; all that it holds after success is moved to `out`, file by file, each in one
    step. `flops` holds what the stage itself spent, by purpose; `metrics` becomes metrics.json; `facts` are
    added to cost.json. `earlier` is what other processes spent on what this one resumed, by their names.
    """

    entry: Entry
    params: Params
    workspace: Workspace
    meter: EnergyMeter
    metrics: dict[str, Any] = field(default_factory=dict)
    flops: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    earlier: dict[str, list[Energy]] = field(default_factory=dict)
    attempts: Attempts | None = None

    @property
    def key(self) -> str:
        """What the stage runs for.

        Raises:
            ValueError: if it runs for nothing in particular.
        """
        if self.entry.key is None:
            raise ValueError(f"{self.entry.name}: runs once, and has no key")
        return self.entry.key

    @property
    def arm(self) -> str:
        """The arm whose encoder the stage makes or measures.

        Raises:
            ValueError: if it runs for no arm.
        """
        if self.entry.arm is None:
            raise ValueError(f"{self.entry.name}: runs for no arm")
        return self.entry.arm

    @property
    def set(self) -> str:
        """The task set that a task measures on.

        Raises:
            ValueError: if the stage is no task.
        """
        if self.entry.set is None:
            raise ValueError(f"{self.entry.name}: measures on no task set")
        return self.entry.set

    @property
    def address(self) -> str:
        """The stage's DVC name, such as `pretrain@supervised-hard`."""
        return self.entry.address

    @property
    def work(self) -> Path:
        return self.workspace.work(self.address)

    @property
    def out(self) -> Path:
        return self.workspace.root / self.entry.out

    def settings(self, config: type) -> Any:
        """The block of a task, `tasks.NAME`, as the task's own `Config`.

        Raises:
            ParamsError: for a key that is unknown or a value that does not fit.
        """
        return plugin_config(config, f"tasks.{self.entry.name}", self.params.tasks.get(self.entry.name))

    def track(
        self,
        items: Iterable[Any],
        total: int | None = None,
        description: str = "",
        unit: str = "step",
        per: int = 1,
    ) -> Iterator[Any]:
        """Iterate with a progress bar, silent where nobody watches; by default over steps of training."""
        return track(items, total=total, description=description or self.address, unit=unit, per=per)

    def charge_attempts(self, place: Path) -> Attempts:
        """Charge what interrupted attempts of this stage spent, and keep what this one does, for the next.

        Args:
            place: what an attempt resumes from, a checkpoint or a folder, named by all that decides the
                result.
        """
        self.attempts = Attempts(spent_file(place), self.meter)
        self.earlier |= {name: [spent] for name, spent in self.attempts.earlier.items()}
        return self.attempts

    def charge_part(self, part: Attempts) -> None:
        """Charge what others spent on a part that this stage found done, or resumed; unknown where they left
        no record.
        """
        if not part.earlier:
            self.facts |= UNMEASURED
        whole = self.attempts.earlier if self.attempts else {}  # of these all is charged already
        for name, spent in part.earlier.items():
            if name not in whole:
                self.earlier.setdefault(name, []).append(spent)

    def spent(self) -> Energy:
        """What the work has cost until now, by all attempts at it."""
        return together(self.meter.so_far(), [one for some in self.earlier.values() for one in some])

    def write_records(self) -> None:
        """Write metrics.json (no time, no energy: reproducible) and cost.json beside it, into the work
        folder.
        """
        folder = self.work / os.path.relpath(self.entry.records, self.entry.out)
        write_json(folder / "metrics.json", self.metrics)
        energy, before = self.meter.stop(), [one for some in self.earlier.values() for one in some]
        if before:
            spent = round(sum(one.seconds for one in before), 3)
            self.facts = {"earlier": {"attempts": len(self.earlier), "seconds": spent}, **self.facts}
        energy = together(energy, before)
        cost = cost_record(self.address, execution(), self.flops, energy, self.facts)
        write_json(folder / "cost.json", cost)

    def commit(self) -> None:
        """Move everything from the work folder to where DVC expects it."""
        for source in sorted(p for p in self.work.rglob("*") if p.is_file()):
            target = self.out / source.relative_to(self.work)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(source, target)
        shutil.rmtree(self.work)


def main(run: Callable[[Stage], None], check: Check | None = None) -> NoReturn:
    """Run one stage from the command line: `python -m stages.NAME [KEY]`.

    Args:
        check: looks at more of params.yaml than its schema does, before anything is spent: the first stages
            to run check what later ones will need.
    """
    name = run.__name__
    parser = argparse.ArgumentParser(prog=f"python -m stages.{name}", description=run.__doc__)
    parser.add_argument("key", nargs="?", help="which arm or version, where the stage runs for each")
    key = parser.parse_args().key
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(143)
    )  # so that finally blocks and the follower see the end
    end_with_dvc()
    workspace = Workspace.find()
    try:
        params = load(workspace.params)
        entry = _entry(workspace, name, key)
        if check is not None:
            check(params)
    except ParamsError as error:
        _fail(f"params.yaml: {error}", 2)
    try:
        with exclusive(workspace.hidden / "locks" / f"{entry.address}.lock", entry.address):
            _execute(run, entry, params, workspace)
    except ValueError as error:
        _fail(str(error), 1)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # everything is written; taking torch apart would cost another 1.5 s


def _entry(workspace: Workspace, name: str, key: str | None) -> Entry:
    entries = {entry.key: entry for entry in Stages.read(workspace.root).of(name)}
    if key not in entries:
        allowed = ", ".join(str(one) for one in entries if one is not None) or "none"
        raise ParamsError(f"stages.{name}: {key!r} is no key of it; allowed: {allowed}")
    return entries[key]


def _execute(run: Callable[[Stage], None], entry: Entry, params: Params, workspace: Workspace) -> None:
    timings = Timings(workspace, params)
    stage = Stage(entry, params, workspace, EnergyMeter(params.carbon))
    shutil.rmtree(stage.work, ignore_errors=True)
    stage.work.mkdir(parents=True)
    timings.announce(entry.address)
    follower = Follower(entry.address, workspace)
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
        kept = f" (all of them: {error.save(workspace.nonfinite)})" if isinstance(error, TableError) else ""
        _fail(f"{entry.address}: {error}{kept}", 1)
    except BaseException as end:  # leaving on a signal is no failure of the stage
        follower.finish("FAILED" if isinstance(end, Exception) else "KILLED")
        raise
    finally:
        if stage.attempts:
            stage.attempts.close()
    # The last stage waits, so that what comes after it finds everything logged.
    follower.finish("FINISHED", wait=entry.name == "compare")
    if stage.attempts:
        stage.attempts.remove()
    resumed = bool(stage.earlier) or stage.facts.get("energy_quality") == "unknown"
    timings.done(entry.address, stage.meter.seconds, whole=not resumed)


def _fail(line: str, code: int) -> NoReturn:
    # flows/stage.py finds the reason of a failure by this beginning, whatever other threads print after it.
    print("error: " + " ".join(line.split()), file=sys.stderr, flush=True)
    sys.exit(code)
