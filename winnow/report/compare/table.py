"""table.json: one row for each arm, built from the stages' own files.

The FLOPs of an arm are what it is charged: its share of its version's making and of the reference, scoring
and training; energy.py says what that is in energy and time. Downstream tasks are not charged: every arm pays
the same for them.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from winnow.config.schema import POOL, Params
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace
from winnow.report.compare.energy import energy
from winnow.report.compare.inputs import PRETRAIN, metrics

Row = dict[str, Any]

FLOPS = ("curate", "reference", "score", "train", "total")
MAIN = "linear_probe.top1"  # what arms are ranked by
CONTROL = "uniform"  # the policy that the others have to beat
# The metrics with a column of their own, and its heading; the report lists the others below the table.
HEADLINES = (
    (r"pretrain\.test_i2t_r1", "image to text R@1"),
    (r"pretrain\.test_t2i_r1", "text to image R@1"),
    (r"pretrain\.test_zero_shot_top1", "zero-shot"),
    (r"linear_probe\.top1", "linear top-1"),
    (r"semi_supervised\.top1_([\d.]+)pct", r"\1 % labels"),
    (r"detection\.(?:box|bbox)_?ap_?50", "box AP50"),
)


def rows(params: Params, workspace: Workspace) -> list[Row]:
    """One row for each arm of params.yaml, in its order.

    Raises:
        ValueError: naming the first file that is missing, and the command that makes it.
    """
    tasks = Stages.read(workspace.root).tasks
    return [_row(params, workspace, arm, tasks) for arm in params.arms]


def _row(params: Params, workspace: Workspace, arm: str, tasks: list[str]) -> Row:
    found, what = metrics(workspace, PRETRAIN, arm), params.arms[arm]
    spent = {purpose: int(found["flops"][purpose]) for purpose in FLOPS[:-1]}
    return {
        "arm": arm,
        **{key: getattr(what, key) for key in ("policy", "method", "backbone", "seed", "version")},
        "flops": {**spent, "total": sum(spent.values())},
        **energy(params, workspace, arm, spent["reference"]),
        "examples_seen": found["examples_seen"],
        "tasks": _task_values(workspace, arm, tasks, found),
        "budget": found["budget"],
        "stopped_by": found["stopped_by"],
    }


def _task_values(
    workspace: Workspace, arm: str, tasks: list[str], pretrain: dict[str, Any]
) -> dict[str, float]:
    """TASK.METRIC -> value of all numbers; of pretraining its accuracies alone, for the rest are counts."""
    values = {name: pretrain[name] for name in pretrain if re.search(r"(top1|_r\d+)$", name)}
    found = {PRETRAIN: values, **{task: metrics(workspace, task, arm) for task in tasks}}
    return {
        f"{task}.{name}": value
        for task, values in found.items()
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def protocols(params: Params, workspace: Workspace) -> dict[str, dict[str, list[str]]]:
    """task -> protocol -> the arms that were measured so, because a number without its protocol says little.

    Pretraining is a task only of the arms that read captions: they alone read a test split while training.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for task in [PRETRAIN, *Stages.read(workspace.root).tasks]:
        for arm in params.arms:
            values = metrics(workspace, task, arm)
            if task != PRETRAIN or "protocol" in values:
                protocol = str(values.get("protocol", "not stated"))
                found.setdefault(task, {}).setdefault(protocol, []).append(arm)
    return found


def choice(row: Row) -> str:
    """What an arm chose to train on, in a word or two: its policy, and its version unless that is `pool`."""
    policy, version = str(row["policy"]), str(row["version"])
    return policy if version == POOL else version if policy == CONTROL else f"{policy} on {version}"


def arm_label(row: Row, table: Sequence[Row]) -> str:
    """What tells an arm from others: its choice, and its backbone and seed where these are not the same."""
    parts = [choice(row)]
    if len({other["backbone"] for other in table}) > 1:
        parts.append(row["backbone"])
    if len({other["seed"] for other in table}) > 1:
        parts.append(f"seed {row['seed']}")
    return ", ".join(parts)


def ranked(table: Iterable[Row]) -> list[Row]:
    """Methods in the order of params.yaml, the arms of each by their linear top-1, best first."""
    table = list(table)
    methods = list(dict.fromkeys(row["method"] for row in table))
    return sorted(
        table, key=lambda row: (methods.index(row["method"]), -row["tasks"].get(MAIN, 0.0), row["arm"])
    )


def headlines(table: Iterable[Row]) -> dict[str, str]:
    """TASK.METRIC -> heading, for the metrics with a column of their own, in the order of `HEADLINES`."""
    keys = sorted({key for row in table for key in row["tasks"]}, key=_natural)
    return {
        key: re.sub(pattern, heading, key, flags=re.I)
        for pattern, heading in HEADLINES
        for key in keys
        if re.fullmatch(pattern, key, flags=re.I)
    }


def _natural(key: str) -> tuple[str, float, str]:
    """Sort keys such as top1_1pct and top1_10pct by their last number."""
    found = re.search(r"([\d.]+)\D*$", key)
    return (key[: found.start()], float(found.group(1).strip(".") or 0), key) if found else (key, 0.0, key)
