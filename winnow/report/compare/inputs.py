"""The files of an arm that a comparison reads: by name, not by a glob, so that arms left on disk stay out.

Each function raises a `ValueError` that names the file that is missing or damaged, and what makes it.
"""

from pathlib import Path
from typing import Any

from winnow.evaluation.curve import FILE as CURVE
from winnow.evaluation.curve import Row, read_curve
from winnow.pipeline.files import read_json
from winnow.pipeline.workspace import Workspace
from winnow.selection.trace import FILE as TRACE
from winnow.selection.trace import Trace, read_trace

PRETRAIN = "pretrain"


def metrics(workspace: Workspace, stage: str, arm: str) -> dict[str, Any]:
    """metrics.json of an arm's pretraining, or of a task on its encoder."""
    return record(_folder(workspace, stage, arm) / "metrics.json", f"{stage}@{arm}")


def cost(workspace: Workspace, stage: str, arm: str) -> dict[str, Any]:
    """cost.json of an arm's pretraining, or of a task on its encoder."""
    return record(_folder(workspace, stage, arm) / "cost.json", f"{stage}@{arm}")


def trace(workspace: Workspace, arm: str) -> Trace:
    return read_trace(workspace.arm(arm) / TRACE, f"make it with: dvc repro {PRETRAIN}@{arm}")


def curve(workspace: Workspace, arm: str) -> list[Row]:
    return read_curve(_required(workspace.arm(arm) / CURVE, f"{PRETRAIN}@{arm}"))


def record(path: Path, address: str) -> dict[str, Any]:
    """A JSON file that the stage at `address` writes."""
    return read_json(_required(path, address), f"make it again with: dvc repro -f {address}")


def _folder(workspace: Workspace, stage: str, arm: str) -> Path:
    return workspace.arm(arm) if stage == PRETRAIN else workspace.task(stage, arm)


def _required(path: Path, address: str) -> Path:
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file, and the comparison needs it; make it with: dvc repro {address}"
        )
    return path
