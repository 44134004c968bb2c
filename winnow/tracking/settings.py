"""The params that a stage's result depends on, for MLflow.

While a stage runs they stand in params.yaml. Afterwards params.yaml may have been edited; then dvc.lock says
what the stage last ran with, unless its result was not made by DVC.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import yaml

from winnow.pipeline.stages import Entry, select
from winnow.pipeline.workspace import Workspace

CHOSEN = {"policy": "policies", "method": "methods", "backbone": "backbones"}
DERIVED = "dvc"  # blocks that winnow/config/derive.py writes for dvc.yaml


def settings(workspace: Workspace, entry: Entry, finished: bool) -> dict[str, Any]:
    """What a stage depends on, nested; what belongs to one arm or version under a name that all of them
    share, so that MLflow can put their runs side by side.

    Args:
        finished: the stage's files are there, and params.yaml may have changed since.
    """
    params = yaml.safe_load(workspace.params.read_text(encoding="utf-8"))
    known = (_locked(workspace, entry) if finished else None) or {
        key: select(params, key) for key in entry.params
    }
    own = {f"versions.{entry.key}": "version"} | ({f"arms.{entry.arm}": "arm"} if entry.arm else {})
    sections = {section: kind for kind, section in CHOSEN.items()}
    found: dict[str, Any] = {"arm": params["arms"].get(entry.arm, {})} if entry.arm else {}
    for key, value in known.items():
        section = key.split(".")[0]
        if key in own:
            found[own[key]] = value
        elif entry.arm and section in sections and "." in key:
            found[sections[section]] = value
        elif section != entry.section:
            found[key] = value
    return {"seed": params["seed"], **_bare(found)}


def _locked(workspace: Workspace, entry: Entry) -> dict[str, Any] | None:
    """The params in dvc.lock, if it is of the result that is there."""
    lock, record = workspace.root / "dvc.lock", f"{entry.records}/metrics.json"
    try:
        stages = yaml.load(lock.read_bytes(), Loader=yaml.CSafeLoader)["stages"]
        stage = stages[entry.address]
        data = (workspace.root / record).read_bytes()
    except (OSError, KeyError, TypeError):
        return None
    digests = {out["path"]: out["md5"] for out in stage.get("outs", [])}
    same = digests.get(record) == hashlib.md5(data, usedforsecurity=False).hexdigest()
    found: dict[str, Any] = stage.get("params", {}).get("params.yaml", {})
    return found if same else None


def _bare(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is derived from the other settings."""
    return {
        key: _bare(value) if isinstance(value, Mapping) else value
        for key, value in values.items()
        if key.split(".")[-1] != DERIVED
    }
