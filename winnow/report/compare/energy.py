"""Energy, CO2e and time of an arm: those of its pretraining, and its share of what made its version, its
reference and the weights that it starts from.

Of its version, `pretrain.curation_share` of each refine stage that it descends by, and of training the models
which these used. Of the reference stage, the part that its FLOPs are of the stage's. Where a part is unknown
the sum is unknown (None, never 0), and the quality is that of the worst part. Of weights, those of the arm of
this run that trained them; what weights from elsewhere cost is in no sum, which the table says of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from winnow.config.derive import parts as parts_of
from winnow.config.derive import reference_of_model, start_within
from winnow.config.derived import NOTHING
from winnow.config.schema import CLEAN, POOL, REFERENCE, Params
from winnow.ledger.cost import UNMEASURED
from winnow.ledger.energy import QUALITIES
from winnow.pipeline.files import read_json
from winnow.pipeline.workspace import Workspace
from winnow.report.compare.inputs import PRETRAIN, record

AMOUNTS = ("kwh", "gco2e", "seconds")
UNKNOWN = {**UNMEASURED, "seconds": None}


@dataclass(frozen=True)
class Part:
    """A share of what a stage's cost.json records."""

    share: float
    cost: Mapping[str, Any]


def energy(params: Params, workspace: Workspace, arm: str, reference_flops: int) -> dict[str, Any]:
    """kwh, gco2e, seconds and energy_quality of an arm that was charged so many FLOPs of the reference.

    Raises:
        ValueError: naming the file that is missing, or does not fit what the arm was charged.
    """
    parts, what = [Part(1.0, record(workspace.arm(arm) / "cost.json", f"{PRETRAIN}@{arm}"))], params.arms[arm]
    if not what.frozen:  # which trains on no version
        parts += [part for one in parts_of(what.version) for part in _version(params, workspace, one)]
    if reference_flops:
        parts.append(_reference(params, workspace, arm, reference_flops))
    parts += _start(params, workspace, arm)
    worst = max((part.cost["energy_quality"] for part in parts), key=QUALITIES.index)
    return {name: _sum(parts, name) for name in AMOUNTS} | {"energy_quality": worst}


def _start(params: Params, workspace: Workspace, arm: str) -> list[Part]:
    """The share of the arm whose encoder this one starts from, with all that went into that."""
    share, what = params.pretrain.weights_share, params.arms[arm]
    if not share or what.dvc.weights_record == NOTHING:
        return []
    start = start_within(params, what)
    if start is None:
        return [Part(share, UNKNOWN)]
    made = record(workspace.arm(start) / "metrics.json", f"{PRETRAIN}@{start}")
    return [Part(share, energy(params, workspace, start, made["flops"]["reference"]))]


def _sum(parts: list[Part], name: str) -> float | None:
    values = [None if part.cost[name] is None else part.share * part.cost[name] for part in parts]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _reference(params: Params, workspace: Workspace, arm: str, charged: int) -> Part:
    """The arm's share of the reference stage; unknown where the references were trained in another run."""
    path = workspace.references / "cost.json"
    whole = record(path, "reference")
    spent = whole["flops"]["reference"]
    if spent < charged:
        mend = f"run: dvc repro {PRETRAIN}@{arm}"
        raise ValueError(f"{path}: {spent} reference FLOPs, and arm {arm} was charged {charged}; {mend}")
    return Part(charged / spent, whole if params.reference.finished is None else UNKNOWN)


def _version(params: Params, workspace: Workspace, version: str) -> list[Part]:
    """The arm's share of every stage that made its version and those that it descends from."""
    found: list[Part] = []
    share = params.pretrain.curation_share
    while version not in (POOL, REFERENCE):
        stage = "oracle" if version == CLEAN else "refine"
        folder, address = workspace.version(version), f"{stage}@{version}"
        lineage = record(folder / "lineage.json", address)
        found.append(Part(share, record(folder / "cost.json", address)))
        if trained := lineage["flops"].get("model", 0):
            found.append(_model(params, workspace, lineage["model"]["path"], trained))
        version = str(lineage["parent"]["name"])
    return found


def _model(params: Params, workspace: Workspace, model: str, trained: int) -> Part:
    """Of the stage that trained a version's model: for a reference by its FLOPs, for an arm's encoder all.

    A model that was trained elsewhere left neither energy nor time.
    """
    share = params.pretrain.curation_share
    if reference_of_model(model):
        path = workspace.references / "cost.json"
        if params.reference.finished is not None or not path.is_file():
            return Part(share, UNKNOWN)
        whole = read_json(path)
        return Part(share * trained / max(trained, whole["flops"]["reference"]), whole)
    path = workspace.root / model
    path = (path.parent if path.suffix else path) / "cost.json"
    return Part(share, read_json(path) if path.is_file() else UNKNOWN)
