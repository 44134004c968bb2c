"""The files of an arm that a comparison reads: by name, not by a glob, so that arms left on disk stay out.

Each function raises a `ValueError` that names the file that is missing or damaged, and what makes it.
"""

from pathlib import Path
from typing import Any

from winnow.evaluation.curve import FILE as CURVE
from winnow.evaluation.curve import Row, read_curve
from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Entry
from winnow.pipeline.workspace import Workspace
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


def record(path: Path, address: str) -> dict[str, Any]:
    """A JSON file that the stage at `address` writes."""
    return read_json(_required(path, address), f"make it again with: dvc repro -f {address}")


def _required(path: Path, address: str) -> Path:
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file, and the comparison needs it; make it with: dvc repro {address}"
        )
    return path
