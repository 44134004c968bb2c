"""Runs in MLflow: a parent for each execution of the pipeline, a child for each stage, all found by tags."""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag

from winnow.pipeline.workspace import Workspace

EXPERIMENT = "winnow"
SQLITE = "sqlite:///"
PARAM_LENGTH, PARAMS_A_BATCH, METRICS_A_BATCH = 6000, 100, 1000  # MLflow's own limits
Point = tuple[str, float, int]  # name, value, step


class Runs:
    """The runs of a workspace, at $MLFLOW_TRACKING_URI or in a SQLite file of the workspace."""

    def __init__(self, workspace: Workspace) -> None:
        # So that a server that is not there is given up soon.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self.workspace = workspace
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.root / 'mlflow.db'}"
        with self._locked():  # the client creates the tables of a database that has none
            self.mlflow = MlflowClient(self.uri)

    def experiment(self) -> str:
        """The id of the experiment, made at the first use.

        Artifacts of the SQLite file go to mlartifacts/ beside it.
        """
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        with self._locked():
            if found := self.mlflow.get_experiment_by_name(name):
                return str(found.experiment_id)
            local = (self.workspace.root / "mlartifacts").as_uri()
            return self.mlflow.create_experiment(name, local if self.uri.startswith("sqlite:") else None)

    def find(self, **tags: str) -> list[Run]:
        """Runs with all these tags, newest first; dots in a tag's name are written as two underscores."""
        query = " and ".join(f"tags.`{key.replace('__', '.')}` = '{value}'" for key, value in tags.items())
        order = ["attributes.start_time DESC"]
        return list(self.mlflow.search_runs([self.experiment()], query, order_by=order))

    def parent(self, execution: str) -> str:
        """The id of the execution's parent run, made at the first use."""
        experiment = self.experiment()
        with self._locked():
            query = f"tags.`winnow.execution` = '{execution}' and tags.`winnow.kind` = 'pipeline'"
            if found := self.mlflow.search_runs([experiment], query, max_results=1):
                return str(found[0].info.run_id)
            tags = {"winnow.execution": execution, "winnow.kind": "pipeline"}
            made = self.mlflow.create_run(experiment, tags=tags, run_name=f"pipeline {execution}")
            return str(made.info.run_id)

    def start(self, address: str, execution: str, tags: Mapping[str, str]) -> str:
        """A new child run for a stage; returns its id."""
        own = {
            "mlflow.parentRunId": self.parent(execution),
            "winnow.execution": execution,
            "winnow.kind": "stage",
            "dvc.stage": address,
        }
        made = self.mlflow.create_run(self.experiment(), tags={**own, **tags}, run_name=address)
        return str(made.info.run_id)

    def end(self, run: str, execution: str, status: str) -> None:
        """Close a stage's run, and with it the parent, which would stay RUNNING for ever otherwise."""
        self.mlflow.set_terminated(run, status)
        self.mlflow.set_terminated(self.parent(execution), status)

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        self.mlflow.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_params(self, run: str, values: Mapping[str, Any]) -> None:
        """Log nested params, flat; a value longer than MLflow's limit is logged as its hash."""
        params = []
        for key, value in sorted(flat(values).items()):
            text = str(value)
            if len(text) > PARAM_LENGTH:
                text = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
            params.append(Param(key, text))
        for start in range(0, len(params), PARAMS_A_BATCH):
            self.mlflow.log_batch(run, params=params[start : start + PARAMS_A_BATCH])

    def log_metrics(self, run: str, points: list[Point], when: int) -> None:
        """Log in as few calls as MLflow allows; `when` in milliseconds since 1970."""
        metrics = [Metric(name, float(value), when, step) for name, value, step in points]
        for start in range(0, len(metrics), METRICS_A_BATCH):
            self.mlflow.log_batch(run, metrics=metrics[start : start + METRICS_A_BATCH])

    def log_dataset(
        self, run: str, name: str, digest: str, source: dict[str, str], tags: Mapping[str, str]
    ) -> None:
        """Record a dataset of the run.

        Args:
            digest: is cut to the 36 characters that MLflow takes.
            source: where the dataset is, with its whole digest.
            tags: of the dataset in this run.
        """
        where = json.dumps(source, sort_keys=True)
        dataset = Dataset(name=name, digest=digest[:36], source_type="dvc", source=where)
        labels = [InputTag(key, value) for key, value in tags.items()]
        self.mlflow.log_inputs(run, [DatasetInput(dataset, labels)])

    def log_file(self, run: str, path: Path, folder: str | None = None) -> None:
        """Log a file as an artifact, into a folder of the run's artifacts."""
        self.mlflow.log_artifact(run, str(path), folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time: two that create the same SQLite database at once break it."""
        path = self.workspace.hidden / "mlflow.lock"
        if self.uri.startswith(SQLITE):  # beside the file, which other workspaces may share
            path = Path(self.uri.removeprefix(SQLITE) + ".lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def flat(values: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries -> one level, keys joined by dots."""
    if not isinstance(values, Mapping):
        return {prefix: values}
    out: dict[str, Any] = {}
    for key, value in values.items():
        out |= flat(value, f"{prefix}.{key}" if prefix else str(key))
    return out
