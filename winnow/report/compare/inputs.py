"""The files of an arm that a comparison reads: by name, not by a glob, so that arms left on disk stay out.

Each function raises a `ValueError` that names the file that is missing or damaged, and what makes it.
"""

from pathlib import Path
from typing import Any

from winnow.config.schema import Params
from winnow.evaluation.curve import FILE as CURVE
from winnow.evaluation.curve import Row, read_curve
from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Entry
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.report.compare.views import with_seconds
from winnow.selection.trace import FILE as TRACE
from winnow.selection.trace import Trace, read_trace

PRETRAIN = "pretrain"


def metrics(workspace: Workspace, entry: Entry) -> dict[str, Any]:
    """metrics.json of a stage."""
    return record(workspace.root / entry.records / "metrics.json", entry.address)


def cost(workspace: Workspace, entry: Entry) -> dict[str, Any]:
    """cost.json of a stage."""
    return record(workspace.root / entry.records / "cost.json", entry.address)


def trace(workspace: Workspace, arm: str) -> Trace:
    return read_trace(workspace.arm(arm) / TRACE, f"make it with: dvc repro {PRETRAIN}@{arm}")


def curve(workspace: Workspace, arm: str) -> list[Row]:
    return read_curve(_required(workspace.arm(arm) / CURVE, f"{PRETRAIN}@{arm}"))


def timed_curve(workspace: Workspace, arm: str, seconds: float | None) -> list[Row]:
    """An arm's readings, with their seconds where it is known how many the arm was charged in all."""
    own = record(workspace.arm(arm) / "cost.json", f"{PRETRAIN}@{arm}")["seconds"]
    return with_seconds(curve(workspace, arm), seconds, own)


def val_images(params: Params, workspace: Workspace) -> int | None:
    """How many images an arm is read on while it trains; None where it is on none."""
    name = params.pretrain.dvc.set
    if not name:
        return None
    return len(uid_files.load(_required(workspace.split(name, "val"), "curate")))


def record(path: Path, address: str) -> dict[str, Any]:
    """A JSON file that the stage at `address` writes."""
    return read_json(_required(path, address), f"make it again with: dvc repro -f {address}")


def _required(path: Path, address: str) -> Path:
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file, and the comparison needs it; make it with: dvc repro {address}"
        )
    return path
