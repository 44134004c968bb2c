"""The MLflow run of one arm of the comparison: what it chose, what that cost and what its encoder scores."""

import hashlib
import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import LoggedModelOutput, Metric, Run

from winnow.config.derive import parts
from winnow.evaluation.curve import FILE as CURVE
from winnow.evaluation.curve import read_curve
from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Entry
from winnow.report.compare.columns import Column, Row, headlines
from winnow.report.compare.table import choice
from winnow.tracking.datasets import log_test_split, log_version
from winnow.tracking.runs import STAGES, Runs
from winnow.tracking.settings import settings
from winnow.tracking.stage_run import LARGE, digest, file_md5, now

TERA = 1e12
WEIGHTS, CONFIG = "model.safetensors", "config.json"
IDENTITY = ("policy", "method", "backbone", "version")
SYSTEM = "system/"


@dataclass
class ArmRun:
    """One arm: its row of table.json, its group's name and intervals, the stage that made its encoder."""

    runs: Runs
    entry: Entry
    row: Row
    group: str
    intervals: Mapping[str, Mapping[str, float]]

    @property
    def digest(self) -> str:
        """What identifies the arm's outcome: its row, its settings, and the versions that it trained on."""
        found = {"row": self.row, "settings": self.settings, "versions": self.version_digests}
        return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()

    @cached_property
    def settings(self) -> dict[str, Any]:
        return settings(self.runs.workspace, self.entry, finished=True)

    @cached_property
    def version_digests(self) -> dict[str, str]:
        """Version -> the digest in its lineage, of those that are there."""
        folders = {name: self.runs.workspace.version(name) for name in parts(self.row["version"])}
        files = {name: folder / "lineage.json" for name, folder in folders.items()}
        return {name: read_json(file)["digest"] for name, file in files.items() if file.is_file()}

    def log(self) -> str:
        """A new run with all of it; returns its id."""
        tags = {"winnow.kind": "arm", "winnow.arm": self.row["arm"], "mlflow.note.content": self.description}
        tags["winnow.energy_quality"] = self.row["energy_quality"]
        times = (self.trained.info.start_time, self.trained.info.end_time) if self.trained else (None, None)
        run = self.runs.start("", self.row["arm"], tags, times[0])
        self.runs.log_params(run, self.params)
        for version in parts(self.row["version"]):
            log_version(self.runs, run, version, "training")
        self._log_values(run, self._log_model(run))
        self._log_histories(run)
        self.runs.tag(run, {"winnow.digest": self.digest})  # last: a run that broke off is made again
        self.runs.mlflow.set_terminated(run, "FINISHED", times[1])
        return run

    @cached_property
    def trained(self) -> Run | None:
        """The run of the stage that made the encoder, if it was followed while it trained."""
        found = digest(self.runs.workspace.root, self.entry)
        stages = self.runs.find(STAGES, winnow__digest=found or "")
        return next((run for run in stages if "winnow.late" not in run.data.tags), None)

    @property
    def params(self) -> dict[str, Any]:
        """What tells arms apart comes first; then all the settings that shaped the encoder."""
        digests = "+".join(digest[:12] for digest in self.version_digests.values())
        named = {key: self.row[key] for key in IDENTITY} | {"version_digest": digests}
        named |= {
            "seed": self.row["seed"],
            "arm": self.group,
            "budget_tflops": (self.row["budget"] or 0) / TERA,
        }
        more = {key: value for key, value in self.settings["arm"].items() if key not in named}
        rest = {key: value for key, value in self.settings.items() if key != "seed"} | {"arm": more}
        return named | {"settings": rest}

    @property
    def description(self) -> str:
        """A sentence or two, for MLflow's column of descriptions and the head of the run's page."""
        row = self.row
        scores = [self._score(one) for one in headlines([row]) if one.value(row) is not None]
        cost = f"{row['flops']['total'] / TERA:.3g} TFLOPs"
        if row["gco2e"] is not None:
            cost += f", {row['gco2e']:.2g} gCO2e ({row['energy_quality']})"
        what = f"{choice(row)}: {row['method']} on {row['backbone']}, seed {row['seed']}"
        return (
            f"{what}. {'; '.join(scores) or 'Nothing measured'}. {cost}, {row['examples_seen']:,} examples."
        )

    def _score(self, column: Column) -> str:
        text = f"{column.name} {100 * (column.value(self.row) or 0):.1f} %"
        found = self.intervals.get(column.name)
        return f"{text} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]" if found else text

    def _log_model(self, run: str) -> str:
        """The encoder as a LoggedModel: its files, or of large weights where they are; returns its id."""
        workspace, params = self.runs.workspace, self.params
        short = {key: str(params[key]) for key in (*IDENTITY, "version_digest", "seed")}
        model = self.runs.mlflow.create_logged_model(
            self.runs.experiment(), self.row["arm"], source_run_id=run, params=short, model_type="encoder"
        )
        folder = workspace.arm(self.row["arm"])
        with tempfile.TemporaryDirectory() as place:
            _gather(folder, Path(place), workspace.root)
            self.runs.mlflow.log_model_artifacts(model.model_id, place)
        self.runs.mlflow.finalize_logged_model(model.model_id, "READY")
        self.runs.mlflow.log_outputs(run, [LoggedModelOutput(model.model_id, 0)])
        return str(model.model_id)

    def _log_values(self, run: str, model: str) -> None:
        """Each number once, as a metric of the run and of its model; a score also of its test split."""
        when, metrics = now(), []
        splits = {name: log_test_split(self.runs, run, name) for name in self.row["tasks"]}
        for name, column in names(headlines([self.row])).items():
            value = column.value(self.row)
            on = (len(column.sets) == 1 and splits[column.sets[0]]) or (None, None)
            if value is not None:
                metrics.append(Metric(name, round(100 * value, 4), when, 0, model, *on))
        metrics += [Metric(name, value, when, 0, model) for name, value in costs(self.row).items()]
        self.runs.log_points(run, metrics)

    def _log_histories(self, run: str) -> None:
        """The curve of the training, and the machine's load from the run of the stage that trained."""
        curve = self.runs.workspace.arm(self.row["arm"]) / CURVE
        when = now()
        if curve.is_file():
            rows = read_curve(curve)
            points = [
                (f"curve/{k}", v, int(row["step"])) for row in rows for k, v in row.items() if k != "step"
            ]
            self.runs.log_metrics(run, points, when)
        for key in self.trained.data.metrics if self.trained else ():
            if self.trained and key.startswith(SYSTEM):
                history = self.runs.mlflow.get_metric_history(self.trained.info.run_id, key)
                self.runs.log_points(run, history)


def names(columns: Sequence[Column]) -> dict[str, Column]:
    """`accuracy/SET/TASK` -> the column: a task's top-1 by the task's name, anything else with what it is."""
    found: dict[str, Column] = {}
    for one in columns:
        group = one.sets[0] if len(one.sets) == 1 else "mean"
        long = one.metric.replace(".", "_")
        short = re.sub(r"^pretrain_(test_)?|_?top1(?=_|$)", "", long)
        name = f"accuracy/{group}/{short or long}"
        found[name if name not in found else f"accuracy/{group}/{long}"] = one
    return found


def costs(row: Row) -> dict[str, float]:
    """What the arm is charged, in units that people read: 10^12 FLOPs, kWh, gCO2e, minutes."""
    parts_of = {f"cost/tflops_{key}": value for key, value in row["flops"].items() if key != "total"}
    tflops = {"cost/tflops": row["flops"]["total"], **parts_of}
    found = {key: float(f"{value / TERA:.5g}") for key, value in tflops.items() if value is not None}
    found |= {f"cost/{key}": row[key] for key in ("gco2e", "kwh") if row[key] is not None}
    if row["seconds"] is not None:
        found["cost/minutes"] = round(row["seconds"] / 60, 2)
    return {key: float(f"{value:.5g}") for key, value in found.items()} | {
        "training/examples": row["examples_seen"]
    }


def _gather(folder: Path, place: Path, root: Path) -> None:
    """Copy what there is of the encoder; weights above `LARGE` bytes as a note of where DVC has them."""
    config, weights = folder / CONFIG, folder / WEIGHTS
    if config.is_file():
        (place / CONFIG).write_bytes(config.read_bytes())
    if not weights.is_file():
        return
    if (size := weights.stat().st_size) <= LARGE:
        (place / WEIGHTS).write_bytes(weights.read_bytes())
        return
    facts = {"path": str(weights.relative_to(root)), "bytes": size, "md5": file_md5(weights)}
    (place / "weights.json").write_text(json.dumps({"tracked by DVC": facts}, indent=1), encoding="utf-8")
