"""From the files of stages to MLflow: a stage followed live while it runs, or logged later by `winnow
publish`; the arms of the comparison once `compare` is there.

The files come first. A run of a stage is known by a digest of its metrics and cost, so what is the same as
before, restored from DVC's cache or not run at all, adds nothing.
"""

import select
import socket
import sys

from mlflow.entities import Run

from winnow.evaluation.curve import FILE as CURVE
from winnow.pipeline.execution import execution as current_execution
from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace
from winnow.tracking import comparison
from winnow.tracking.runs import STAGES, Runs
from winnow.tracking.stage_run import StageRun, digest

SECONDS = 2.0  # between two looks at a running stage


def follow(workspace: Workspace, address: str) -> None:
    """Log a running stage until a line on standard input says how it ended, or its end that it was killed."""
    runs = Runs(workspace)
    run = StageRun.open(runs, Stages.read(workspace.root)[address], current_execution())
    run.watch()
    status = None
    while status is None:
        ready, _, _ = select.select([sys.stdin], [], [], SECONDS)
        status = sys.stdin.readline().strip() if ready else None
        if status != "FINISHED":
            run.log_curve(workspace.work(address) / CURVE)
    if status == "FINISHED":
        run.log_outs()
    run.end(status or "KILLED")
    if status == "FINISHED" and address == comparison.STAGE:
        publish(workspace)


def publish(workspace: Workspace) -> tuple[list[str], list[str]]:
    """Give every stage whose files are whole, and every arm of the comparison, a run, unless it has one.

    Returns the addresses of the stages, and the names of the arms, that were added.
    """
    runs, added = Runs(workspace), []
    running = {run.data.tags["dvc.stage"] for run in _running(runs) if _alive(run)}
    for entry in Stages.read(workspace.root).entries.values():
        found = digest(workspace.root, entry)
        # A follower may still be logging the last lines of a stage that has ended.
        if not found or entry.address in running or runs.find(STAGES, winnow__digest=found):
            continue
        cost = read_json(workspace.root / entry.records / "cost.json")
        run = StageRun.open(runs, entry, str(cost["execution"]), late=True)
        run.log_outs()
        run.end("FINISHED")
        added.append(entry.address)
    return added, comparison.publish(runs)


def sweep(workspace: Workspace) -> int:
    """Mark this workspace's runs whose follower was killed before it could; returns how many."""
    runs = Runs(workspace)
    stale = [run for run in _running(runs) if not _alive(run)]
    for run in stale:
        runs.mlflow.set_terminated(run.info.run_id, "KILLED")
    return len(stale)


def _running(runs: Runs) -> list[Run]:
    found = runs.find(STAGES, winnow__workspace=runs.name)
    return [run for run in found if run.info.status == "RUNNING"]


def _alive(run: Run) -> bool:
    """Whether the process that logs a run is there; on another machine nobody here knows, so yes."""
    import psutil

    if run.data.tags.get("winnow.host") != socket.gethostname():
        return "winnow.host" in run.data.tags  # a late run that broke off has none
    try:
        command = psutil.Process(int(run.data.tags["winnow.pid"])).cmdline()
    except psutil.Error:
        return False
    return any("winnow" in word for word in command)


if __name__ == "__main__":
    try:
        follow(Workspace.find(), sys.argv[1])
    except Exception as problem:
        reason = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        missing = f"warning: {sys.argv[1]} is not in MLflow ({reason}); log it later with: winnow publish"
        print(missing, flush=True)
        sys.exit(1)
