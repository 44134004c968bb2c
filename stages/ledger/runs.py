"""Runs in MLflow: one parent an execution of the pipeline, one child a stage. Everything is found again by tags."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from stages.params import ROOT

EXPERIMENT = "winnow"
PARAM_LENGTH, PARAMS_A_BATCH, METRICS_A_BATCH = 6000, 100, 1000  # MLflow's own limits


def tracking_uri() -> str:
    """$MLFLOW_TRACKING_URI, or a SQLite file in the project folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{ROOT / 'mlflow.db'}"


def client() -> MlflowClient:
    """A client that gives up soon on a server that is not there."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    return MlflowClient(tracking_uri())


@contextmanager
def locked() -> Iterator[None]:
    """One process at a time: two that create the same SQLite database at once break it."""
    path = ROOT / ".winnow" / "mlflow.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def experiment(mlflow: MlflowClient) -> str:
    """The id of the experiment, made on first use; artifacts of the default database go to mlartifacts/ beside it."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    with locked():
        if found := mlflow.get_experiment_by_name(name):
            return str(found.experiment_id)
        local = tracking_uri().startswith("sqlite:")
        return mlflow.create_experiment(name, (ROOT / "mlartifacts").as_uri() if local else None)


def find(mlflow: MlflowClient, **tags: str) -> list[Any]:
    """Runs with all these tags, newest first; dots in a tag's name are written as two underscores."""
    wanted = " and ".join(f"tags.`{key.replace('__', '.')}` = '{value}'" for key, value in tags.items())
    return list(mlflow.search_runs([experiment(mlflow)], wanted, order_by=["attributes.start_time DESC"]))


def parent(mlflow: MlflowClient, execution: str) -> str:
    """The id of the execution's parent run, made on first use."""
    name = experiment(mlflow)
    with locked():
        wanted = f"tags.`winnow.execution` = '{execution}' and tags.`winnow.kind` = 'pipeline'"
        if found := mlflow.search_runs([name], wanted, max_results=1):
            return str(found[0].info.run_id)
        tags = {"winnow.execution": execution, "winnow.kind": "pipeline"}
        return str(mlflow.create_run(name, tags=tags, run_name=f"pipeline {execution}").info.run_id)


def start(mlflow: MlflowClient, address: str, execution: str, tags: dict[str, str]) -> str:
    """A new child run for a stage; returns its id."""
    arm = address.partition("@")[2]
    everything = {
        "mlflow.parentRunId": parent(mlflow, execution),
        "winnow.execution": execution,
        "winnow.kind": "stage",
        "dvc.stage": address,
        **({"winnow.arm": arm} if arm else {}),
        **tags,
    }
    return str(mlflow.create_run(experiment(mlflow), tags=everything, run_name=address).info.run_id)


def log_params(mlflow: MlflowClient, run: str, values: dict[str, Any]) -> None:
    """Log flat params within MLflow's limits; a value that is too long is logged as its hash."""
    params = []
    for key, value in sorted(flat(values).items()):
        text = str(value)
        params.append(Param(key, text if len(text) <= PARAM_LENGTH else f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"))
    for start_ in range(0, len(params), PARAMS_A_BATCH):
        mlflow.log_batch(run, params=params[start_ : start_ + PARAMS_A_BATCH])


def log_metrics(mlflow: MlflowClient, run: str, rows: list[tuple[str, float, int]], when: int) -> None:
    """Log (name, value, step) in as few calls as MLflow allows; `when` in milliseconds since 1970."""
    metrics = [Metric(name, float(value), when, step) for name, value, step in rows]
    for start_ in range(0, len(metrics), METRICS_A_BATCH):
        mlflow.log_batch(run, metrics=metrics[start_ : start_ + METRICS_A_BATCH])


def log_version(
    mlflow: MlflowClient, run: str, name: str, digest: str, source: dict[str, str], context: str, tags: dict[str, str] | None = None
) -> None:
    """Record a dataset version as a dataset of the run.

    Args:
        digest: the SHA-256 of its uids, or DVC's own; cut to the 36 characters that MLflow takes.
        source: where it is, with the whole digest.
        context: what the run does with it: the stage that reads it, or `made`.
        tags: of the dataset in this run, such as the version's parent.
    """
    dataset = Dataset(name=name, digest=digest[:36], source_type="dvc", source=json.dumps(source, sort_keys=True))
    labels = {"mlflow.data.context": context, **(tags or {})}
    mlflow.log_inputs(run, [DatasetInput(dataset, [InputTag(key, value) for key, value in labels.items()])])


def end(mlflow: MlflowClient, run: str, execution: str, status: str) -> None:
    """Close a stage's run, and the parent with it: a parent never stays RUNNING for ever."""
    mlflow.set_terminated(run, status)
    mlflow.set_terminated(parent(mlflow, execution), status)


def tag(mlflow: MlflowClient, run: str, **tags: str) -> None:
    mlflow.log_batch(run, tags=[RunTag(key.replace("__", "."), value) for key, value in tags.items()])


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries -> one level, keys joined by dots."""
    if not isinstance(values, dict):
        return {prefix: values}
    out: dict[str, Any] = {}
    for key, value in values.items():
        out.update(flat(value, f"{prefix}.{key}" if prefix else str(key)))
    return out
