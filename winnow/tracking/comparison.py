"""The comparison in MLflow: a run for each arm, made from table.json and the arm's own files.

Publishing the same results again adds no run. An arm whose results changed gets a new one, and the runs of
yesterday stay, with `winnow.current` = false: the view that `winnow ui` prints shows the current ones.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from mlflow.entities import Run

from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Stages
from winnow.report.compare.columns import headlines
from winnow.report.compare.groups import Group, grouped
from winnow.tracking import view
from winnow.tracking.arm_run import ArmRun, names
from winnow.tracking.runs import Runs

STAGE = "compare"
REPORT = ("report.html", "table.md", "table.json", "intervals.json")
CURRENT, REPORTED = "winnow.current", "winnow.report"


def publish(runs: Runs) -> list[str]:
    """Give every arm of results/compare its run, mark these as the current ones, and share their view.

    Returns the arms that got a new run.
    """
    folder, stages = runs.workspace.comparison, Stages.read(runs.workspace.root)
    if not (folder / "table.json").is_file() or not (folder / "intervals.json").is_file():
        return []
    rows = json.loads((folder / "table.json").read_text(encoding="utf-8"))
    known = runs.find(winnow__kind="arm", winnow__workspace=runs.name)
    runs_of = {run.data.tags.get("winnow.digest"): run.info.run_id for run in reversed(known)}
    current, added = [], []
    for arm in _arms(runs, stages, grouped(rows), read_json(folder / "intervals.json")):
        if (found := arm.digest) not in runs_of:
            runs_of[found] = arm.log()
            added.append(arm.row["arm"])
        current.append(runs_of[found])
    _mark(runs, known, current)
    _report(runs, folder, current)
    view.share(runs, list(names(headlines(rows))), averaged=len(grouped(rows)) < len(rows))
    return added


def _arms(runs: Runs, stages: Stages, groups: list[Group], intervals: dict[str, Any]) -> list[ArmRun]:
    """Those whose pretraining params.yaml still names; the others' settings are nowhere."""
    known = {group["arm"]: group["metrics"] for group in intervals["groups"]}
    return [
        ArmRun(runs, stages[address], row, group.name, known.get(group.name, {}))
        for group in groups
        for row in group.rows
        if (address := f"pretrain@{row['arm']}") in stages.entries
    ]


def _mark(runs: Runs, known: list[Run], current: list[str]) -> None:
    before = {run.info.run_id: run.data.tags.get(CURRENT) for run in known}
    for run in dict.fromkeys([*before, *current]):
        wanted = "true" if run in current else "false"
        if before.get(run) != wanted:
            runs.tag(run, {CURRENT: wanted})


def _report(runs: Runs, folder: Path, current: list[str]) -> None:
    """The report, its tables and plots as artifacts of every current arm, unless it has this one."""
    files = [folder / name for name in REPORT if (folder / name).is_file()]
    plots = sorted((folder / "plots").glob("*.png"))
    found = hashlib.sha256(b"".join(file.read_bytes() for file in [*files, *plots])).hexdigest()
    for run in current:
        if runs.mlflow.get_run(run).data.tags.get(REPORTED) == found:
            continue
        for file in files:
            runs.log_file(run, file)
        for plot in plots:
            runs.log_file(run, plot, "plots")
        runs.tag(run, {REPORTED: found})
