"""The view that `winnow ui` links to: the current arms sorted by what they score, and charts of score against
cost.

MLflow keeps a saved view as a tag of the experiment, `mlflow.sharedViewState.KEY`: its name, and its state as
JSON, deflated and in base64; `?viewStateShareKey=KEY` opens it, and the menu `Views` lists it. The form of
the state is that of MLflow's browser code (3.17).
"""

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Sequence
from typing import Any

from winnow.pipeline.workspace import Workspace
from winnow.tracking.runs import STAGES, Runs
from winnow.tracking.stage_run import now

TAG = "mlflow.sharedViewState."
NOTE = "mlflow-url"  # in .winnow/, for as long as `make ui` runs: flows/environment.py
COSTS = ("cost/tflops", "cost/gco2e")
# Parameters and costs with the widths of their columns, in pixels; a score needs more.
PARAMS = {"policy": 100, "method": 95, "backbone": 95, "version": 90, "version_digest": 110, "seed": 50}
COST_WIDTH, SCORE_WIDTH, NAME_WIDTH = 90, 235, 190
AGAINST, SCORES, SPENT, SYSTEM = "Accuracy against cost", "Accuracy", "Cost", "System metrics"
MAIN = "linear_probe"


def share(runs: Runs, scores: Sequence[str], averaged: bool) -> None:
    """Store the views of both experiments.

    Args:
        scores: the metrics `accuracy/SET/TASK`, the mean over sets last.
        averaged: arms with several seeds are there, so runs are grouped by arm.
    """
    mains = [name for name in scores if name.rsplit("/", 1)[1] == MAIN] or list(scores)
    main = mains[-1] if mains else None
    _store(runs, "", f"Arms of {runs.name}", _comparison(runs, main, scores, averaged))
    _store(runs, STAGES, f"Stages of {runs.name}", _stages(runs))


def link(runs: Runs, server: str, part: str = "") -> str | None:
    """The address of a view on a server; None where it was not shared yet."""
    experiment = runs.mlflow.get_experiment(runs.experiment(part))
    if TAG + _key(runs) not in experiment.tags:
        return None
    query = f"workflowType=machine_learning&viewStateShareKey={_key(runs)}"
    return f"{server}/#/experiments/{experiment.experiment_id}/runs?{query}"


def _key(runs: Runs) -> str:
    """One for each workspace that shares the experiment."""
    return runs.name


def _store(runs: Runs, part: str, name: str, state: dict[str, Any]) -> None:
    """Set the tag, unless it is the same; the link stays what it was."""
    experiment, tag = runs.mlflow.get_experiment(runs.experiment(part)), TAG + _key(runs)
    packed = base64.b64encode(zlib.compress(json.dumps(state, sort_keys=True).encode(), 9)).decode()
    view = {"name": name, "state": f"deflate;{packed}"}
    before = json.loads(experiment.tags.get(tag, "{}"))
    if {key: before.get(key) for key in view} != view:
        dated = view | {"createdAt": before.get("createdAt", now()), "updatedAt": now()}
        runs.mlflow.set_experiment_tag(experiment.experiment_id, tag, json.dumps(dated))


def _comparison(runs: Runs, main: str | None, scores: Sequence[str], averaged: bool) -> dict[str, Any]:
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "arm"}]}
    widths = {"tags.`mlflow.runName`": NAME_WIDTH}
    widths |= {_column("params", name): width for name, width in PARAMS.items()}
    widths |= {_column("metrics", name): SCORE_WIDTH for name in ([main] if main else [])}
    widths |= {_column("metrics", name): COST_WIDTH for name in COSTS}
    widths |= {_column("metrics", name): SCORE_WIDTH for name in scores if name != main}
    return {
        "searchFilter": f"tags.`winnow.current` = 'true' and tags.`winnow.workspace` = '{runs.name}'",
        "orderByKey": _column("metrics", main) if main else "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": list(widths)[1:],
        "columnOrder": list(widths),
        "columnWidths": widths,
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": group if averaged else None,
        "isAccordionReordered": True,
        "compareRunSections": [
            _section(name, open=name != SYSTEM) for name in (AGAINST, SCORES, SPENT, SYSTEM)
        ],
        "compareRunCharts": _charts(main, scores),
    }


def _stages(runs: Runs) -> dict[str, Any]:
    """Executions of stages, the latest first."""
    shown = ("winnow.execution", "winnow.set", "winnow.policy", "winnow.method", "winnow.energy_quality")
    columns = [_column("metrics", f"cost/{name}") for name in ("seconds", "kwh", "gco2e")]
    return {
        "searchFilter": f"tags.`winnow.workspace` = '{runs.name}'",
        "orderByKey": "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns + [_column("tags", name) for name in shown],
        "runsHiddenMode": "FIRST_10_RUNS",
    }


def _charts(main: str | None, scores: Sequence[str]) -> list[dict[str, Any]]:
    charts = []
    for cost in COSTS if main else ():
        axes = {"xaxis": {"key": cost, "type": "METRIC"}, "yaxis": {"key": main, "type": "METRIC"}}
        charts.append(_chart("SCATTER", AGAINST, cost) | axes)
    bars = [(SCORES, score) for score in scores] + [(SPENT, cost) for cost in COSTS]
    return charts + [_chart("BAR", section, metric) | {"metricKey": metric} for section, metric in bars]


def _chart(kind: str, section: str, metric: str) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": _uuid(f"{kind} {section} {metric}"),
        "metricSectionId": _uuid(section),
        "runsCountToCompare": 100,
        "isGenerated": False,
        "deleted": False,
    }


def _section(name: str, open: bool) -> dict[str, Any]:
    return {"uuid": _uuid(name), "name": name, "display": open, "isReordered": False, "deleted": False}


def _column(kind: str, name: str) -> str:
    return f"{kind}.`{name}`"


def _uuid(name: str) -> str:
    """The same for the same name, so that a view that did not change is the same text."""
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def server(workspace: Workspace) -> str:
    """Where the MLflow server is: $MLFLOW_TRACKING_URI where that is one, else where `make ui` says."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    if uri.startswith("http"):
        return uri.rstrip("/")
    note = workspace.hidden / NOTE
    if note.is_file():
        return note.read_text(encoding="utf-8").strip()
    return f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT') or 5000}"
