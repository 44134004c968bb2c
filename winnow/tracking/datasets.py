"""Dataset versions and task sets as MLflow's datasets, known by the digests that their own files give."""

import hashlib

from winnow.pipeline.files import read_json
from winnow.tracking.runs import Runs

MADE = "made"  # the context of a version that the stage made; one that it reads has the stage's name
Named = tuple[str, str]  # a dataset's name and digest, as MLflow knows them


def log_version(runs: Runs, run: str, version: str, context: str) -> Named | None:
    """Record a version by the digest in its lineage, with its parent; None where it was deleted."""
    folder = runs.workspace.version(version)
    if not (folder / "lineage.json").is_file():
        return None
    lineage = read_json(folder / "lineage.json")
    parent = {f"winnow.parent_{key}": str(v) for key, v in (lineage["parent"] or {}).items()}
    origin = {"winnow.count": str(lineage["count"])}
    origin |= {f"winnow.dataset.{name}": one["digest"] for name, one in lineage["datasets"].items()}
    if guard := lineage.get("guard"):
        origin["winnow.leak_guard"] = guard["method"]["name"]
    where = {"path": str(folder.relative_to(runs.workspace.root)), "sha256": lineage["digest"]}
    tags = {"mlflow.data.context": context, **parent, **origin}
    named = runs.log_dataset(run, f"{version} version", lineage["digest"], where, tags)
    if context == MADE:
        parents = {f"{key}.{version}": value for key, value in parent.items()}
        runs.tag(run, {f"winnow.version.{version}": lineage["digest"], **parents})
    return named


def log_test_split(runs: Runs, run: str, task_set: str) -> Named | None:
    """Record what the tasks of a set measure on: the uids of its test split; None where they are not here."""
    path = runs.workspace.split(task_set, "test")
    if not path.is_file():
        return None
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    where = {"path": str(path.relative_to(runs.workspace.root)), "sha256": digest}
    return runs.log_dataset(run, f"{task_set} test", digest, where, {"mlflow.data.context": "evaluation"})
