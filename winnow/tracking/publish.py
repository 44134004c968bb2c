"""From a stage's files to its MLflow run: followed live while it runs, or logged later by `winnow publish`.

The files come first. A run is known by its execution, its stage and a digest of its metrics and cost, so
publishing twice changes nothing.
"""

import json
import select
import sys
from typing import Any

from mlflow.entities import Run

from winnow.evaluation.curve import FILE as CURVE
from winnow.pipeline.execution import execution as current_execution
from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Entry, Stages
from winnow.pipeline.workspace import Workspace
from winnow.tracking.runs import Runs
from winnow.tracking.stage_run import StageRun, digest

SECONDS = 2.0  # between two looks at a running stage


def follow(workspace: Workspace, address: str) -> None:
    """Log a running stage until a line on standard input says how it ended, or its end that it was killed."""
    execution, runs = current_execution(), Runs(workspace)
    run = StageRun.open(runs, Stages.read(workspace.root)[address], execution)
    status = None
    while status is None:
        ready, _, _ = select.select([sys.stdin], [], [], SECONDS)
        status = sys.stdin.readline().strip() if ready else None
        if status != "FINISHED":
            run.log_curve(workspace.work(address) / CURVE)
    if status == "FINISHED":
        run.log_outs()
        if address == "compare":
            publish(workspace, execution)
            log_comparison(runs, execution)
    run.end(status or "KILLED")


def publish(workspace: Workspace, execution: str | None) -> list[str]:
    """Give every stage whose files are whole its run; returns the addresses of those that were added.

    With an execution, each stage gets a run under it, those that DVC restored from its cache included.
    Without one, only stages that have no run anywhere get one, under the execution that made their files.
    """
    runs, added = Runs(workspace), []
    for entry in Stages.read(workspace.root).entries.values():
        found = digest(workspace.root, entry)
        if found is None:
            continue
        known = runs.find(winnow__digest=found) + _in_flight(runs, entry, execution)
        if known and (execution is None or execution in map(_execution, known)):
            continue
        cost = read_json(workspace.root / entry.records / "cost.json")
        tags = {"winnow.restored": "true"} if known else {"winnow.late": "true"}
        run = StageRun.open(runs, entry, execution or str(cost["execution"]), tags)
        run.log_outs()
        run.end("FINISHED")
        added.append(entry.address)
    return added


def sweep(workspace: Workspace, execution: str | None) -> int:
    """Mark runs of other executions that were left RUNNING by a kill -9; returns how many."""
    runs = Runs(workspace)
    stale = [run for run in runs.find(winnow__kind="stage") if run.info.status == "RUNNING"]
    stale = [run for run in stale if _execution(run) != execution]
    for run in stale:
        runs.mlflow.set_terminated(run.info.run_id, "KILLED")
    return len(stale)


def log_comparison(runs: Runs, execution: str) -> None:
    """Put each arm's results and whole cost on its pretrain run, so that MLflow compares the policies."""
    folder, stages = runs.workspace.comparison, Stages.read(runs.workspace.root)
    rows: list[dict[str, Any]] = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    for row in rows:
        address = f"pretrain@{row['arm']}"
        points = {
            f"eval/{name}/{key.replace('.', '_')}": value
            for name, values in row["tasks"].items()
            for key, value in values.items()
        }
        points |= {f"cost/arm_flops_{purpose}": value for purpose, value in row["flops"].items()}
        points |= {"cost/arm_kwh": row["kwh"], "cost/arm_gco2e": row["gco2e"]}
        for run in runs.find(winnow__execution=execution, dvc__stage=address)[:1]:
            StageRun(runs, stages[address], execution, run.info.run_id).log_values(points)
    top = runs.parent(execution)
    for name in ("report.html", "table.md", "table.json"):
        runs.log_file(top, folder / name)


def _in_flight(runs: Runs, entry: Entry, execution: str | None) -> list[Run]:
    """The run that a follower is still finishing, if any."""
    if execution is None:
        return []
    found = runs.find(winnow__execution=execution, dvc__stage=entry.address)
    return [run for run in found if run.info.status == "RUNNING"]


def _execution(run: Run) -> str | None:
    return run.data.tags.get("winnow.execution")


if __name__ == "__main__":
    try:
        follow(Workspace.find(), sys.argv[1])
    except Exception as problem:
        reason = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        missing = f"warning: {sys.argv[1]} is not in MLflow ({reason}); log it later with: winnow publish"
        print(missing, flush=True)
        sys.exit(1)
