"""From a stage's files to its MLflow run: followed live while it runs, or logged later by `winnow publish`. Files come first.

A run is known by its execution, its stage and a digest of its metrics and cost; publishing twice changes nothing.
"""

import csv
import hashlib
import json
import select
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient

from stages import progress
from stages.ledger import runs
from stages.params import ROOT
from stages.stage import place

LARGE = 5_000_000  # bytes; a larger file is recorded by its path and hash, and stays with DVC
FIRST = ("pool", "reference")  # the versions that curate makes
FOREACH = {"refine": "versions"}  # stages that run once an item of another section than arms
# stage -> the versions that it reads, and those that it makes, by params.yaml and what stands after the @ of its address
READ: dict[str, Callable[[dict[str, Any], str], Sequence[str]]] = {
    "reference": lambda params, arm: FIRST,
    "pretrain": lambda params, arm: (params["arms"][arm].get("version", "pool"),),
    "refine": lambda params, arm: (params["versions"][arm].get("parent", "pool"),),
}
MADE: dict[str, Callable[[str], Sequence[str]]] = {"curate": lambda arm: FIRST, "refine": lambda arm: (arm,)}
TASKS = ("linear_probe", "semi_supervised", "detection")


def follow(address: str, work: Path) -> None:
    """Log a running stage until standard input tells how it ended."""
    execution, mlflow = progress.execution(), runs.client()
    run, logged, line = open_run(mlflow, address, execution, {}), 0, None
    while line is None:
        ready, _, _ = select.select([sys.stdin], [], [], 2.0)
        line = sys.stdin.readline().strip() if ready else None
        if line != "FINISHED":
            logged = log_curve(mlflow, run, work / "curve.csv", logged)
    if line == "FINISHED":
        log_outs(mlflow, run, address, logged)
        if address == "compare":
            publish(execution)
            log_comparison(mlflow, execution)
    runs.end(mlflow, run, execution, line or "KILLED")


def publish(execution: str | None) -> list[str]:
    """Give every stage whose files are whole its run; returns the stages that were added.

    With an execution, each stage gets a run under it, those that DVC restored from its cache included. Without one, only
    stages that have no run anywhere get theirs, under the execution that made their files.
    """
    mlflow, added = runs.client(), []
    for address in progress.stage_names():
        digest = records_digest(address)
        if digest is None:
            continue
        known = runs.find(mlflow, winnow__digest=digest) + _in_flight(mlflow, address, execution)
        if known and (execution is None or any(r.data.tags["winnow.execution"] == execution for r in known)):
            continue
        under = execution or _made_by(address)
        run = open_run(mlflow, address, under, {"winnow.restored": "true"} if known else {"winnow.late": "true"})
        log_outs(mlflow, run, address, 0)
        runs.end(mlflow, run, under, "FINISHED")
        added.append(address)
    return added


def _in_flight(mlflow: MlflowClient, address: str, execution: str | None) -> list[Any]:
    """The run that a follower is still finishing, if any."""
    if execution is None:
        return []
    found = runs.find(mlflow, winnow__execution=execution, dvc__stage=address)
    return [run for run in found if run.info.status == "RUNNING"]


def _made_by(address: str) -> str:
    _, records = place(*_split(address))
    return str(json.loads((records / "cost.json").read_text())["execution"])


def sweep(execution: str) -> int:
    """Mark runs of other executions that were left RUNNING by a kill -9; returns how many."""
    mlflow = runs.client()
    stale = [r for r in runs.find(mlflow, winnow__kind="stage") if r.info.status == "RUNNING"]
    stale = [r for r in stale if r.data.tags.get("winnow.execution") != execution]
    for run in stale:
        mlflow.set_terminated(run.info.run_id, "KILLED")
    return len(stale)


def open_run(mlflow: MlflowClient, address: str, execution: str, tags: dict[str, str]) -> str:
    """A child run with the params that the stage depends on, and the dataset versions that it reads."""
    name, _, arm = address.partition("@")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    relevant: dict[str, Any] = {"seed": params.get("seed"), **({name: params[name]} if name in params else {})}
    if arm in params["arms"]:
        chosen = params["arms"][arm]
        tags = {**tags, **{f"winnow.{kind}": str(chosen[kind]) for kind in ("policy", "method", "backbone")}}
        relevant |= {"arm": chosen, "policy": params["policies"][chosen["policy"]]}
        relevant |= {"method": params["methods"][chosen["method"]], "backbone": params["backbones"][chosen["backbone"]]}
    if name in FOREACH:
        relevant |= {"version": params[FOREACH[name]][arm]}
    run = runs.start(mlflow, address, execution, tags)
    runs.log_params(mlflow, run, relevant)
    for version in READ[name](params, arm) if name in READ else ():
        log_version(mlflow, run, version, name)
    return run


def log_version(mlflow: MlflowClient, run: str, version: str, context: str) -> None:
    """Record a version by the digest in its lineage, with its parent; without a lineage by DVC's md5, if there is one."""
    path = f"data/versions/{version}"
    try:
        lineage = json.loads((ROOT / path / "lineage.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        if digest := dvc_digest("curate", path):
            runs.log_version(mlflow, run, f"{version} version", digest, {"path": path, "dvc_md5": digest}, context)
        return
    parent = lineage["parent"] or {}
    tags = {f"winnow.parent_{key}": str(value) for key, value in parent.items()}
    tags |= {"winnow.count": str(lineage["count"]), "winnow.pool_digest": lineage["pool"]["digest"]}
    source = {"path": path, "sha256": lineage["digest"]}
    runs.log_version(mlflow, run, f"{version} version", lineage["digest"], source, context, tags)
    if context == "made":
        made = {f"winnow.version.{version}": lineage["digest"], **{f"{k}.{version}": v for k, v in tags.items() if "parent" in k}}
        runs.tag(mlflow, run, **made)


def dvc_digest(stage: str, path: str) -> str | None:
    """DVC's md5 of an out, from dvc.lock."""
    try:
        lock = yaml.safe_load((ROOT / "dvc.lock").read_text())
        return next((str(out["md5"]) for out in lock["stages"][stage]["outs"] if out["path"] == path), None)
    except (OSError, KeyError, TypeError):
        return None


def records_digest(address: str) -> str | None:
    """What identifies one finished execution of a stage: its metrics and its cost; None if they are not there."""
    _, records = place(*_split(address))
    try:
        data = (records / "metrics.json").read_bytes() + (records / "cost.json").read_bytes()
    except OSError:
        return None
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def log_curve(mlflow: MlflowClient, run: str, path: Path, logged: int) -> int:
    """Log the rows of curve.csv after the first `logged`; returns how many are logged now."""
    try:
        rows = list(csv.DictReader(path.read_text().splitlines()))
    except OSError:
        return logged
    now = int(time.time() * 1000)
    points = [(f"curve/{k}", float(v), int(row["step"])) for row in rows[logged:] for k, v in row.items() if k != "step"]
    runs.log_metrics(mlflow, run, points, now)
    return max(logged, len(rows))


def log_outs(mlflow: MlflowClient, run: str, address: str, logged: int) -> None:
    """Everything that a finished stage left: metrics, cost, the rest of its curve, versions, files or their hashes."""
    name, _ = _split(address)
    out, records = place(*_split(address))
    log_curve(mlflow, run, out / "curve.csv", logged)
    metrics = json.loads((records / "metrics.json").read_text())
    cost = json.loads((records / "cost.json").read_text())
    prefix = f"eval/{name}_" if name in TASKS else "result/"
    points = {f"{prefix}{k}".replace("@", "."): v for k, v in runs.flat(metrics).items()}
    points |= {f"cost/flops_{k}": v for k, v in cost["flops"].items()}
    points |= {"cost/kwh": cost["kwh"], "cost/gco2e": cost["gco2e"], "cost/seconds": cost["seconds"]}
    _log_points(mlflow, run, points)
    tags = {"winnow__digest": records_digest(address) or "", "winnow__energy_quality": cost["energy_quality"]}
    runs.tag(mlflow, run, **tags, **({"winnow__protocol": metrics["protocol"]} if "protocol" in metrics else {}))
    for version in _made(address):
        log_version(mlflow, run, version, "made")
    _log_files(mlflow, run, out, records, address)


def _made(address: str) -> Sequence[str]:
    name, arm = _split(address)
    return MADE[name](arm or "") if name in MADE else ()


def log_comparison(mlflow: MlflowClient, execution: str) -> None:
    """Put each arm's results and whole cost on its pretrain run, so that the runs of one stage compare the policies."""
    folder = ROOT / "results/compare"
    for row in json.loads((folder / "table.json").read_text()):
        found = runs.find(mlflow, winnow__execution=execution, dvc__stage=f"pretrain@{row['arm']}")
        points = {f"eval/{k.replace('.', '_')}": v for k, v in row["tasks"].items()}
        points |= {f"cost/arm_flops_{k}": v for k, v in row["flops"].items()}
        points |= {"cost/arm_kwh": row["kwh"], "cost/arm_gco2e": row["gco2e"]}
        for run in found[:1]:
            _log_points(mlflow, run.info.run_id, points)
    top = runs.parent(mlflow, execution)
    for name in ("report.html", "table.md", "table.json"):
        mlflow.log_artifact(top, str(folder / name))


def _log_points(mlflow: MlflowClient, run: str, points: dict[str, Any]) -> None:
    numbers = [(k, float(v), 0) for k, v in points.items() if isinstance(v, int | float) and not isinstance(v, bool)]
    runs.log_metrics(mlflow, run, numbers, int(time.time() * 1000))


def _log_files(mlflow: MlflowClient, run: str, out: Path, records: Path, address: str) -> None:
    """Small files as artifacts; for large ones, files.json with path, size and md5 (which is DVC's)."""
    listed = []
    versions = [ROOT / "data/versions" / version for version in _made(address)]
    roots = [*versions, *([out / "splits"] if address == "curate" else [])] or [out]
    files = sorted({p for root in roots for p in root.rglob("*") if p.is_file()} | {records / "metrics.json", records / "cost.json"})
    for path in files:
        relative, size = path.relative_to(ROOT), path.stat().st_size
        if size <= LARGE and path.suffix in {".json", ".csv", ".md", ".html", ".png"}:
            below = path.parent.relative_to(out) if path.is_relative_to(out) else Path()
            mlflow.log_artifact(run, str(path), str(below).replace(".", "", 1) or None)
        else:
            digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            listed.append({"path": str(relative), "bytes": size, "md5": digest})
    mlflow.log_dict(run, {"tracked by DVC": listed}, "files.json")


def _split(address: str) -> tuple[str, str | None]:
    name, _, arm = address.partition("@")
    return name, arm or None


if __name__ == "__main__":
    try:
        follow(sys.argv[1], Path(sys.argv[2]))
    except Exception as problem:
        reason = f"{type(problem).__name__}: {' '.join(str(problem).split())[:200]}"
        print(f"warning: {sys.argv[1]} is not in MLflow ({reason}); log it later with: winnow publish", flush=True)
        sys.exit(1)
