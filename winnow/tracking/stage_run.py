"""The MLflow run of one stage, filled from the files that the stage wrote."""

import hashlib
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from winnow.evaluation.curve import FILE as CURVE
from winnow.evaluation.curve import read_curve
from winnow.pipeline.files import read_json
from winnow.pipeline.stages import Entry
from winnow.tracking.datasets import MADE, log_version
from winnow.tracking.runs import STAGES, Runs, flat
from winnow.tracking.settings import CHOSEN, settings

LARGE = 5_000_000  # bytes; a larger file is recorded by its path and hash, and stays with DVC
SHOWN = {".json", ".csv", ".md", ".html", ".png"}  # the files that MLflow has a view for
SECONDS_A_SAMPLE = 5.0  # of the machine's load


class StageRun:
    """One run of one stage."""

    def __init__(self, runs: Runs, entry: Entry, run: str) -> None:
        self.runs, self.entry, self.id = runs, entry, run
        self._logged = 0  # readings of the curve
        self._monitor: SystemMetricsMonitor | None = None

    @classmethod
    def open(cls, runs: Runs, entry: Entry, execution: str, late: bool = False) -> Self:
        """A new run with the params that the stage depends on, and the dataset versions that it reads.

        Args:
            late: the stage has ended already.
        """
        found = settings(runs.workspace, entry, finished=late)
        tags = {"winnow.kind": "stage", "winnow.execution": execution, "dvc.stage": entry.address}
        if entry.arm:
            tags |= {"winnow.arm": entry.arm, **{f"winnow.{kind}": found["arm"][kind] for kind in CHOSEN}}
        tags |= {"winnow.set": entry.set} if entry.set else {}
        # Its maker's process tells a run that goes on from one whose maker was killed.
        maker = {"winnow.host": socket.gethostname(), "winnow.pid": str(os.getpid())}
        tags |= {"winnow.late": "true"} if late else maker
        one = cls(runs, entry, runs.start(STAGES, entry.address, tags))
        runs.log_params(one.id, found)
        for version in entry.reads_versions:
            log_version(runs, one.id, version, entry.name)
        return one

    def watch(self) -> None:
        """Log how busy the machine is, its GPUs included, until the run ends."""
        self._monitor = SystemMetricsMonitor(
            self.id, sampling_interval=SECONDS_A_SAMPLE, tracking_uri=self.runs.uri
        )
        self._monitor.start()

    def end(self, status: str) -> None:
        if self._monitor:
            self._monitor.finish()
        self.runs.mlflow.set_terminated(self.id, status)

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
        self.runs.log_metrics(self.id, points, now())
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
            log_version(self.runs, self.id, version, MADE)
        self._log_files(root)

    def log_values(self, values: Mapping[str, Any]) -> None:
        """Those of the values that are numbers."""
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        self.runs.log_metrics(self.id, [(name, float(v), 0) for name, v in numbers.items()], now())

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
                facts = {"path": str(path.relative_to(root)), "bytes": size, "md5": file_md5(path)}
                listed.append(facts)
        self.runs.mlflow.log_dict(self.id, {"tracked by DVC": listed}, "files.json")


def digest(root: Path, entry: Entry) -> str | None:
    """What identifies a finished execution of a stage: its metrics and cost; None where it left none."""
    try:
        data = b"".join((root / entry.records / name).read_bytes() for name in ("metrics.json", "cost.json"))
    except OSError:
        return None
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _files(root: Path, entry: Entry) -> list[Path]:
    """The files of a stage's outs."""
    outs = [root / out for out in entry.outs]
    found = {path for out in outs for path in ([out] if out.is_file() else out.rglob("*"))}
    return sorted(path for path in found if path.is_file())


def file_md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def now() -> int:
    return int(time.time() * 1000)
