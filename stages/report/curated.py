"""What a version's making cost in energy and time: each refine stage that it descends by, and the training of the models they used."""

from pathlib import Path
from typing import Any

from stages.params import POOL
from stages.report.files import read_json

Part = tuple[float, dict[str, Any]]
UNKNOWN = {"kwh": None, "gco2e": None, "seconds": None, "energy_quality": "unknown"}


def parts(version: str, share: float, root: Path, elsewhere: bool = False) -> list[Part]:
    """`share` of each stage's cost.json. A model that was trained elsewhere left neither energy nor time, and is unknown; `elsewhere`
    says that the references were.

    Raises:
        ValueError: naming the file that is missing.
    """
    found: list[Part] = []
    while version != POOL:
        folder = root / "data/versions" / version
        lineage, cost = _read(folder / "lineage.json", version), _read(folder / "cost.json", version)
        found.append((share, cost))
        if trained := lineage["flops"].get("model", 0):
            found.append(_training(Path(lineage["model"]["path"]), trained, share, root, elsewhere))
        version = str(lineage["parent"]["name"])
    return found


def _training(model: Path, trained: int, share: float, root: Path, elsewhere: bool) -> Part:
    """The part of the stage that trained the model: of the stage reference, by FLOPs; of a pretrain stage, all of it."""
    reference = model.parts[:3] == ("results", "reference", "models")
    if reference and elsewhere:
        return share, UNKNOWN
    if reference and (root / "results/reference/cost.json").is_file():
        cost = read_json(root / "results/reference/cost.json")
        return share * trained / max(trained, cost["flops"]["reference"]), cost
    folder = root / (model.parent if model.suffix else model)
    return share, read_json(folder / "cost.json") if (folder / "cost.json").is_file() else UNKNOWN


def _read(path: Path, version: str) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path}: no such file, and the comparison needs it; make it with: dvc repro refine@{version}")
    return read_json(path)
