"""A workspace with the results of a comparison, as `compare` and the stages before it leave them, small."""

import hashlib

import numpy as np
import pytest
import yaml

from winnow.config.compose import composed
from winnow.config.plugins import CODE
from winnow.pipeline.files import write_json
from winnow.pipeline.workspace import Workspace
from winnow.report.compare.groups import grouped
from winnow.tracking import comparison
from winnow.tracking.runs import Runs

OVERRIDES = ["dataset=digits", "scale=debug", "arms=uniform,easy,hard", "seeds=1"]
SCORES = {"supervised-uniform": 0.813, "supervised-easy": 0.853, "supervised-hard": 0.746}
TFLOPS = {"supervised-uniform": 3.5, "supervised-easy": 4.0, "supervised-hard": 3.75}


def _stem(arm, what):
    return arm.removesuffix(f"-s{what['seed']}")


class Results:
    """Writes and changes the files of a comparison."""

    def __init__(self, root, overrides=OVERRIDES):
        self.workspace = Workspace(root)
        root.mkdir(exist_ok=True)
        (root / "dvc.yaml").write_bytes((CODE / "dvc.yaml").read_bytes())
        params = composed(overrides, Workspace(CODE).conf)
        (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        self.rows = {
            arm: self._row(arm, what) for arm, what in params["arms"].items() if _stem(arm, what) in SCORES
        }
        for arm in self.rows:
            write_json(self.workspace.arm(arm) / "metrics.json", {"arm": arm})
            write_json(self.workspace.arm(arm) / "config.json", {"architecture": "test"})
            (self.workspace.arm(arm) / "model.safetensors").write_bytes(b"weights")
            (self.workspace.arm(arm) / "curve.csv").write_text("step,loss\n1,2.5\n2,1.5\n")
        write_json(self.workspace.version("pool") / "lineage.json", self._lineage())
        self.workspace.split("held_out", "test").parent.mkdir(parents=True)
        np.save(self.workspace.split("held_out", "test"), np.arange(3))
        self.lock(params)
        self.write()

    @staticmethod
    def _row(arm, what):
        chosen = {key: what[key] for key in ("policy", "method", "backbone", "seed", "version", "mixture")}
        name = _stem(arm, what)
        flops = {"curate": 0, "reference": 0, "score": 0, "train": int(TFLOPS[name] * 1e12)}
        scores = {"linear_probe.top1": SCORES[name], "semi_supervised.top1_1pct": SCORES[name] - 0.1}
        spent = {"kwh": 0.001, "gco2e": TFLOPS[name] / 10, "seconds": 90.0, "energy_quality": "estimated"}
        rest = {"examples_seen": 1280, "budget": 4e12, "stopped_by": "budget"}
        flops["total"] = sum(flops.values())
        return {"arm": arm, **chosen, "flops": flops, **spent, **rest, "tasks": {"held_out": scores}}

    @staticmethod
    def _lineage():
        digest = hashlib.sha256(b"pool").hexdigest()
        return {"digest": digest, "parent": None, "count": 3, "datasets": {"digits": {"digest": "1"}}}

    def lock(self, params):
        """What DVC would remember of the pretraining."""
        stages = {}
        for arm in self.rows:
            record = f"results/pretrain/{arm}/metrics.json"
            data = (self.workspace.root / record).read_bytes()
            outs = [{"path": record, "md5": hashlib.md5(data).hexdigest()}]
            known = {f"arms.{arm}": params["arms"][arm], "pretrain": params["pretrain"]}
            known |= {f"{k}.{n}": params[k][n] for k in ("policies", "methods") for n in params[k]}
            stages[f"pretrain@{arm}"] = {"outs": outs, "params": {"params.yaml": known}}
        (self.workspace.root / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))

    def write(self):
        folder, rows = self.workspace.comparison, list(self.rows.values())
        write_json(folder / "table.json", rows)
        groups = [
            {
                "arm": group.name,
                "metrics": {
                    "held_out: linear top-1": {
                        "mean": (mean := group.row["tasks"]["held_out"]["linear_probe.top1"]),
                        "low": mean - 0.01,
                        "high": mean + 0.01,
                    }
                },
            }
            for group in grouped(rows)
        ]
        write_json(folder / "intervals.json", {"groups": groups})
        (folder / "report.html").write_text("<p>report")
        (folder / "plots").mkdir(exist_ok=True)
        (folder / "plots/spending.png").write_bytes(b"png")


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    return Results(tmp_path_factory.mktemp("comparison") / "mine")


@pytest.fixture(scope="session")
def runs(results):
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return Runs(results.workspace)


@pytest.fixture(scope="session")
def published(results, runs):
    """The runs of the arms, by their names, published once."""
    assert comparison.publish(runs) == list(results.rows)
    return {run.info.run_name: run for run in runs.find()}


@pytest.fixture(scope="session")
def make_results():
    """`Results`, for a test that needs its own."""
    return Results
