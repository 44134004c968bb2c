"""Runs in MLflow, in two experiments: `winnow`, where a run is an arm of the comparison, and `winnow stages`,
where a run is one execution of one stage. Runs are found by their tags; none is nested in another.
"""

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

from winnow.ledger.requested_by import requested_by
from winnow.pipeline.workspace import Workspace

EXPERIMENT, STAGES = "winnow", "stages"
SQLITE = "sqlite:///"
PARAM_LENGTH, PARAMS_A_BATCH, METRICS_A_BATCH = 6000, 100, 1000  # MLflow's own limits
PAGE = 1000  # runs in one answer
# With these an experiment opens on its table of runs, and not on MLflow's page for generative AI.
KIND = {"mlflow.experimentKind": "custom_model_development"}
ABOUT = {
    "": "Arms of a comparison, one run each, named by arm: what each chose to train on, what that cost and "
    "what its encoder scores. `accuracy/SET/TASK` is in %, `cost/tflops` in 10^12 FLOPs, all that the arm is "
    "charged. Runs with `winnow.current` = true are the latest results of their workspace.",
    STAGES: "Executions of single stages, logged while they run. Those of one `dvc repro` share "
    "`winnow.execution`.",
}
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
        self._experiments: dict[str, str] = {}
        with self._locked():  # the client creates the tables of a database that has none
            self.mlflow = MlflowClient(self.uri)

    @property
    def name(self) -> str:
        """The workspace's name in MLflow, which several workspaces may share."""
        path = str(self.workspace.root)
        return f"{self.workspace.root.name}-{hashlib.sha256(path.encode()).hexdigest()[:6]}"

    def experiment(self, part: str = "") -> str:
        """The id of the experiment of comparisons, or of `STAGES`; made at the first use.

        Artifacts of the SQLite file go to mlartifacts/ beside it.
        """
        if part not in self._experiments:
            name = f"{os.environ.get('MLFLOW_EXPERIMENT_NAME', EXPERIMENT)} {part}".strip()
            with self._locked():
                if found := self.mlflow.get_experiment_by_name(name):
                    self._experiments[part] = str(found.experiment_id)
                else:
                    local = (self.workspace.root / "mlartifacts").as_uri()
                    place = local if self.uri.startswith("sqlite:") else None
                    tags = {**KIND, "mlflow.note.content": ABOUT[part]}
                    self._experiments[part] = self.mlflow.create_experiment(name, place, tags)
        return self._experiments[part]

    def find(self, part: str = "", **tags: str) -> list[Run]:
        """Runs with all these tags, newest first; dots in a tag's name are written as two underscores."""
        query = " and ".join(f"tags.`{key.replace('__', '.')}` = '{value}'" for key, value in tags.items())
        found: list[Run] = []
        page = None
        while page != "":
            order = ["attributes.start_time DESC"]
            answer = self.mlflow.search_runs([self.experiment(part)], query, 1, PAGE, order, page)
            found += answer
            page = answer.token or ""
        return found

    def start(self, part: str, name: str, tags: Mapping[str, str], when: int | None = None) -> str:
        """A new run of this workspace; returns its id. `when` is now by default, in milliseconds since
        1970.
        """
        own = {"winnow.workspace": self.name, "mlflow.user": requested_by()["by"].split(" <")[0]}
        made = self.mlflow.create_run(self.experiment(part), when, {**own, **tags}, name)
        return str(made.info.run_id)

    def tag(self, run: str, tags: Mapping[str, str]) -> None:
        self.mlflow.log_batch(run, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_params(self, run: str, values: Mapping[str, Any]) -> None:
        """Log nested params, flat and in their order; a value longer than MLflow's limit is logged as its
        hash.
        """
        params = []
        for key, value in flat(values).items():
            text = str(value)
            if len(text) > PARAM_LENGTH:
                text = f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
            params.append(Param(key, text))
        for start in range(0, len(params), PARAMS_A_BATCH):
            self.mlflow.log_batch(run, params=params[start : start + PARAMS_A_BATCH])

    def log_metrics(self, run: str, points: list[Point], when: int) -> None:
        """Log in as few calls as MLflow allows; `when` in milliseconds since 1970."""
        self.log_points(run, [Metric(name, float(value), when, step) for name, value, step in points])

    def log_points(self, run: str, metrics: list[Metric]) -> None:
        """The same for metrics that say themselves when they were measured, of what model on what data."""
        for start in range(0, len(metrics), METRICS_A_BATCH):
            self.mlflow.log_batch(run, metrics=metrics[start : start + METRICS_A_BATCH])

    def log_dataset(
        self, run: str, name: str, digest: str, source: dict[str, str], tags: Mapping[str, str]
    ) -> tuple[str, str]:
        """Record a dataset of the run; returns its name and digest, which metrics of it refer to.

        Args:
            digest: is cut to the 36 characters that MLflow takes.
            source: where the dataset is, with its whole digest.
            tags: of the dataset in this run.
        """
        where = json.dumps(source, sort_keys=True)
        dataset = Dataset(name=name, digest=digest[:36], source_type="dvc", source=where)
        labels = [InputTag(key, value) for key, value in tags.items()]
        self.mlflow.log_inputs(run, [DatasetInput(dataset, labels)])
        return dataset.name, dataset.digest

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
