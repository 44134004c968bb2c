"""The MLflow run of one stage, filled from the files that the stage wrote."""

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from winnow.evaluation.curve import FILE as CURVE
from winnow.evaluation.curve import read_curve
from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Entry, select
from winnow.tracking.runs import Runs, flat

LARGE = 5_000_000  # bytes; a larger file is recorded by its path and hash, and stays with DVC
SHOWN = {".json", ".csv", ".md", ".html", ".png"}  # the files that MLflow has a view for
MADE = "made"  # the context of a dataset version that the stage made; one that it reads has the stage's name


class StageRun:
    """One run of one stage."""

    def __init__(self, runs: Runs, entry: Entry, execution: str, run: str) -> None:
        self.runs, self.entry, self.execution, self.id = runs, entry, execution, run
        self._logged = 0  # readings of the curve

    @classmethod
    def open(cls, runs: Runs, entry: Entry, execution: str, tags: Mapping[str, str] | None = None) -> Self:
        """A new run with the params that the stage depends on, and the dataset versions that it reads."""
        params = yaml.safe_load(runs.workspace.params.read_text(encoding="utf-8"))
        arm = params["arms"][entry.arm] if entry.arm else None
        own = {f"winnow.{kind}": arm[kind] for kind in ("policy", "method", "backbone")} if arm else {}
        own |= {"winnow.arm": str(entry.arm)} if arm else {}
        own |= {"winnow.set": entry.set} if entry.set else {}
        one = cls(runs, entry, execution, runs.start(entry.address, execution, {**own, **(tags or {})}))
        runs.log_params(one.id, _params(entry, params, arm))
        for version in entry.reads_versions:
            one._log_version(version, entry.name)
        return one

    def end(self, status: str) -> None:
        self.runs.end(self.id, self.execution, status)

    def log_curve(self, path: Path) -> None:
        """The readings of a curve.csv that are not logged yet; a row that is just being written waits."""
        try:
            rows = read_curve(path)
        except (TypeError, ValueError):
            return
        points = [
            (f"curve/{name}", value, int(row["step"]))
            for row in rows[self._logged :]
            for name, value in row.items()
            if name != "step"
        ]
        self.runs.log_metrics(self.id, points, _now())
        self._logged = max(self._logged, len(rows))

    def log_outs(self) -> None:
        """All that a finished stage left: metrics, cost, the rest of its curve, versions, and files."""
        root, entry = self.runs.workspace.root, self.entry
        self.log_curve(root / entry.out / CURVE)
        metrics, cost = (read_json(root / entry.records / f"{name}.json") for name in ("metrics", "cost"))
        prefix = f"eval/{entry.set}/{entry.name}_" if entry.is_task else "result/"
        points = {f"{prefix}{key}".replace("@", "."): value for key, value in flat(metrics).items()}
        points |= {f"cost/flops_{purpose}": value for purpose, value in cost["flops"].items()}
        points |= {f"cost/{name}": cost[name] for name in ("kwh", "gco2e", "seconds")}
        self.log_values(points)
        tags = {"winnow.digest": digest(root, entry) or "", "winnow.energy_quality": cost["energy_quality"]}
        if "protocol" in metrics:
            tags["winnow.protocol"] = metrics["protocol"]
        self.runs.tag(self.id, tags)
        for version in entry.makes_versions:
            self._log_version(version, MADE)
        self._log_files(root)

    def log_values(self, values: Mapping[str, Any]) -> None:
        """Those of the values that are numbers."""
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        self.runs.log_metrics(self.id, [(name, float(v), 0) for name, v in numbers.items()], _now())

    def _log_version(self, version: str, context: str) -> None:
        """A dataset version by the digest in its lineage, with its parent; none where it was deleted."""
        folder = self.runs.workspace.version(version)
        if not (folder / "lineage.json").is_file():
            return
        lineage = read_json(folder / "lineage.json")
        parent = {f"winnow.parent_{key}": str(v) for key, v in (lineage["parent"] or {}).items()}
        origin = {"winnow.count": str(lineage["count"])}
        origin |= {f"winnow.dataset.{name}": one["digest"] for name, one in lineage["datasets"].items()}
        if guard := lineage.get("guard"):
            origin["winnow.leak_guard"] = guard["method"]["name"]
        where = {"path": str(folder.relative_to(self.runs.workspace.root)), "sha256": lineage["digest"]}
        tags = {"mlflow.data.context": context, **parent, **origin}
        self.runs.log_dataset(self.id, f"{version} version", lineage["digest"], where, tags)
        if context == MADE:
            named = {f"{key}.{version}": value for key, value in parent.items()}
            self.runs.tag(self.id, {f"winnow.version.{version}": lineage["digest"], **named})

    def _log_files(self, root: Path) -> None:
        """Small files as artifacts; for the others, files.json with path, size and MD5, which is DVC's."""
        listed = []
        for path in _files(root, self.entry):
            size = path.stat().st_size
            if size <= LARGE and path.suffix in SHOWN:
                record = path.parent == root / self.entry.records
                below = Path() if record else path.parent.relative_to(root / self.entry.out)
                self.runs.log_file(self.id, path, str(below) if below.parts else None)
            else:
                facts = {"path": str(path.relative_to(root)), "bytes": size, "md5": _md5(path)}
                listed.append(facts)
        self.runs.mlflow.log_dict(self.id, {"tracked by DVC": listed}, "files.json")


def digest(root: Path, entry: Entry) -> str | None:
    """What identifies a finished execution of a stage: its metrics and cost; None where it left none."""
    try:
        data = b"".join((root / entry.records / name).read_bytes() for name in ("metrics.json", "cost.json"))
    except OSError:
        return None
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _params(entry: Entry, params: Mapping[str, Any], arm: Mapping[str, Any] | None) -> dict[str, Any]:
    """The params that a stage depends on; what belongs to one arm or version under a name that all of them
    share, so that MLflow can put their runs side by side.
    """
    own = {"arms", "policies", "methods", "backbones"} if arm else {str(entry.section)}
    found = {key: select(params, key) for key in entry.params if key.split(".")[0] not in own}
    found["seed"] = params["seed"]
    if entry.section == "versions":
        found["version"] = params["versions"][entry.key]
    if arm:
        chosen = {"policy": "policies", "method": "methods", "backbone": "backbones"}
        found |= {"arm": arm, **{kind: params[section][arm[kind]] for kind, section in chosen.items()}}
    return found


def _files(root: Path, entry: Entry) -> list[Path]:
    """The files of a stage's outs."""
    outs = [root / out for out in entry.outs]
    found = {path for out in outs for path in ([out] if out.is_file() else out.rglob("*"))}
    return sorted(path for path in found if path.is_file())


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _now() -> int:
    return int(time.time() * 1000)
