"""The view that `winnow ui` links to: the current arms sorted by what they score, and charts of score against
cost.

MLflow keeps a shared view as a tag of the experiment, `mlflow.sharedViewState.KEY`, JSON that is deflated and
in base64; `?viewStateShareKey=KEY` opens it. Its form is that of MLflow's browser code (3.17), where charts
and sections are listed under `compareRunCharts` and `compareRunSections`.
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

TAG = "mlflow.sharedViewState."
NOTE = "mlflow-url"  # in .winnow/, for as long as `make ui` runs: flows/environment.py
COSTS = {"cost/tflops": "10^12 FLOPs", "cost/gco2e": "gCO2e"}
PARAMS = ("policy", "method", "backbone", "version", "version_digest", "seed")
AGAINST, SCORES, SPENT, CURVES, SYSTEM = (
    "Accuracy against cost",
    "Accuracy",
    "Cost",
    "Training",
    "System metrics",
)
MAIN = "linear_probe"


def share(runs: Runs, scores: Sequence[str], averaged: bool) -> None:
    """Store the views of both experiments.

    Args:
        scores: the metrics `accuracy/SET/TASK`, the mean over sets last.
        averaged: arms with several seeds are there, so runs are grouped by arm.
    """
    mains = [name for name in scores if name.rsplit("/", 1)[1] == MAIN] or list(scores)
    main = mains[-1] if mains else None
    _store(runs, "", _comparison(runs, main, scores, averaged))
    _store(runs, STAGES, _stages(runs))


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


def _store(runs: Runs, part: str, state: dict[str, Any]) -> None:
    """Set the tag, unless it is the same; the link stays what it was."""
    experiment = runs.mlflow.get_experiment(runs.experiment(part))
    packed = base64.b64encode(zlib.compress(json.dumps(state, sort_keys=True).encode(), 9)).decode()
    value = f"deflate;{packed}"
    if experiment.tags.get(TAG + _key(runs)) != value:
        runs.mlflow.set_experiment_tag(experiment.experiment_id, TAG + _key(runs), value)


def _comparison(runs: Runs, main: str | None, scores: Sequence[str], averaged: bool) -> dict[str, Any]:
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "param", "groupByData": "arm"}]}
    columns = [_column("metrics", name) for name in (*([main] if main else []), *COSTS)]
    columns += [_column("metrics", name) for name in scores if name != main]
    columns += [_column("params", name) for name in PARAMS]
    return {
        "searchFilter": f"tags.`winnow.current` = 'true' and tags.`winnow.workspace` = '{runs.name}'",
        "orderByKey": _column("metrics", main) if main else "attributes.start_time",
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [],
        "runsHiddenMode": "SHOW_ALL",
        "groupBy": group if averaged else None,
        "isAccordionReordered": True,
        "compareRunSections": [_section(name, open=name != SYSTEM) for name in _SECTIONS],
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


_SECTIONS = (AGAINST, SCORES, SPENT, CURVES, SYSTEM)


def _charts(main: str | None, scores: Sequence[str]) -> list[dict[str, Any]]:
    charts = []
    for cost, unit in COSTS.items():
        for score in [main] if main else []:
            title = f"{_short(score)}, %, against {unit}"
            axes = {"xaxis": {"key": cost, "type": "METRIC"}, "yaxis": {"key": score, "type": "METRIC"}}
            charts.append({**_chart("SCATTER", AGAINST, title, 100), **axes})
    bars = [(SCORES, score, f"{_short(score)}, %") for score in scores]
    bars += [(SPENT, cost, f"{cost}, {unit}") for cost, unit in COSTS.items()]
    for section, metric, title in bars:
        charts.append({**_chart("BAR", section, title, 100), "metricKey": metric})
    return charts


def _chart(kind: str, section: str, title: str, count: int) -> dict[str, Any]:
    return {
        "type": kind,
        "uuid": _uuid(f"{kind} {section} {title}"),
        "metricSectionId": _uuid(section),
        "displayName": title,
        "runsCountToCompare": count,
        "isGenerated": False,
        "deleted": False,
    }


def _section(name: str, open: bool) -> dict[str, Any]:
    return {"uuid": _uuid(name), "name": name, "display": open, "isReordered": False, "deleted": False}


def _short(score: str) -> str:
    return score.removeprefix("accuracy/").replace("/", " ")


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
