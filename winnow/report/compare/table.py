"""table.json: one row for each arm, built from the stages' own files.

The FLOPs of an arm are what it is charged: its share of its version's making, of the reference and of the arm
whose encoder it starts from, scoring and training; energy.py says what that is in energy and time. Downstream
tasks are not charged: every arm pays the same for them.

Only the row of an arm that starts from weights has `weights`, of them and of their FLOPs, and only that of a
frozen arm has `frozen`. FLOPs that nobody knows are null in `flops` and `unknown` in `weights`, never 0.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from winnow.config.derive import RAW_PIXELS, parts
from winnow.config.schema import CLEAN, POOL, REFERENCE, Params
from winnow.pipeline.stages import Entry, Stages
from winnow.pipeline.workspace import Workspace
from winnow.report.compare.columns import Row, main_column
from winnow.report.compare.energy import energy
from winnow.report.compare.inputs import PRETRAIN, metrics

FLOPS = ("curate", "reference", "weights", "score", "train", "total")
FROZEN = "the weights untouched"  # the choice of an arm that trains nothing
FLOOR = "random encoder"  # and that starts from nothing: what any training has to beat
PIXELS = "raw pixels"  # or has no encoder at all
CONTROL = "uniform"  # the policy that selects nothing


def rows(params: Params, workspace: Workspace) -> list[Row]:
    """One row for each arm of params.yaml, in its order.

    Raises:
        ValueError: naming the first file that is missing, and the command that makes it.
    """
    stages = Stages.read(workspace.root)
    return [_row(params, workspace, arm, stages) for arm in params.arms]


def _row(params: Params, workspace: Workspace, arm: str, stages: Stages) -> Row:
    found, what = metrics(workspace, stages[f"{PRETRAIN}@{arm}"]), params.arms[arm]
    spent = {purpose: found["flops"][purpose] for purpose in FLOPS[:-1] if purpose in found["flops"]}
    return {
        "arm": arm,
        **{key: getattr(what, key) for key in ("policy", "method", "backbone", "seed", "version", "mixture")},
        **({"selects_from": what.selects_from} if what.selects_from else {}),
        **({"frozen": True} if what.frozen else {}),
        **_start(found),
        "flops": {**spent, "total": sum(value or 0 for value in spent.values())},
        **energy(params, workspace, arm, spent["reference"]),
        "examples_seen": found["examples_seen"],
        "tasks": _task_values(params, workspace, tasks_of(stages, arm), found),
        "budget": found["budget"],
        "stopped_by": found["stopped_by"],
    }


def _start(found: dict[str, Any]) -> Row:
    """What an arm started from, and the FLOPs of making that: a number, or `unknown`."""
    if "weights" not in found:
        return {}
    return {"weights": {key: found["weights"][key] for key in ("path", "flops")}}


def trained(table: Iterable[Row]) -> list[Row]:
    """The rows of arms that trained; all of them, where none did."""
    table = list(table)
    return [row for row in table if not row.get("frozen")] or table


def tasks_of(stages: Stages, arm: str) -> list[Entry]:
    """The stages that measure an arm's encoder."""
    return [entry for entry in stages.entries.values() if entry.is_task and entry.arm == arm]


def _task_values(
    params: Params, workspace: Workspace, tasks: list[Entry], pretrain: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """SET -> TASK.METRIC -> value of all numbers; of pretraining its accuracies alone."""
    found: dict[str, dict[str, float]] = {name: {} for name in params.datasets.tasks}
    values = {name: pretrain[name] for name in pretrain if re.search(r"(top1|_r\d+)$", name)}
    measured = [(params.pretrain.dvc.set, PRETRAIN, values)] if params.pretrain.dvc.set else []
    measured += [(str(entry.set), entry.name, metrics(workspace, entry)) for entry in tasks]
    for task_set, task, numbers in measured:
        for name, value in numbers.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found[task_set][f"{task}.{name}"] = value
    return {name: values for name, values in found.items() if values}


def protocols(params: Params, workspace: Workspace) -> dict[str, dict[str, list[str]]]:
    """Task, with its set where there are several -> protocol -> the arms that were measured so, because a
    number without its protocol says little.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for entry in Stages.read(workspace.root).entries.values():
        if entry.is_task:
            values = metrics(workspace, entry)
            many = len(params.datasets.tasks) > 1 and entry.set
            name = f"{entry.name} on {entry.set}" if many else entry.name
            protocol = str(values.get("protocol", "not stated"))
            found.setdefault(name, {}).setdefault(protocol, []).append(str(entry.arm))
    return found


def is_control(row: Row) -> bool:
    """Whether the arm selects nothing and curates nothing: uniform on pool, reference, or both."""
    selects = row["policy"] != CONTROL or row.get("frozen")
    return not selects and set(parts(row["version"])) <= {POOL, REFERENCE}


def is_oracle(row: Row) -> bool:
    """Whether the arm trained on what no user can know: the clean part of the pool."""
    return CLEAN in parts(row["version"]) and not row.get("frozen")


def choice(row: Row) -> str:
    """What an arm chose to train on, in a word or two: its policy, and its version unless that is `pool`; or
    that it is the weights untouched.
    """
    policy, version = str(row["policy"]), str(row["version"])
    if row.get("frozen"):
        return FROZEN if "weights" in row else PIXELS if row.get("backbone") == RAW_PIXELS else FLOOR
    if row["mixture"]:
        shares = zip(parts(version), row["mixture"], strict=True)
        whole = row.get("selects_from")
        of_each = [f"{100 * share:g} % {one}" for one, share in shares if one != whole]
        if whole:
            return f"{policy}, with {' + '.join(of_each)}"
        version = " + ".join(of_each)
    version = version.replace("+", " + ") if " " not in version else version
    return policy if version == POOL else version if policy == CONTROL else f"{policy} on {version}"


def backbone_of(row: Row) -> str:
    """The backbone, without the seed that `seeds` puts behind the name of one that starts from an arm."""
    return str(row["backbone"]).removesuffix(f"-s{row['seed']}")


def arm_label(row: Row, table: Sequence[Row]) -> str:
    """What tells an arm from others: its choice, and where these are not the same, the backbone that was
    trained, and the seed.
    """
    names = [choice(row)]
    if len({backbone_of(other) for other in table if not other.get("frozen")}) > 1:
        names.append(backbone_of(row))
    if len({other["seed"] for other in table}) > 1:
        names.append(f"seed {row['seed']}")
    return ", ".join(names)


def ranked(table: Iterable[Row]) -> list[Row]:
    """Methods in the order of params.yaml, the arms of each by their linear top-1, best first."""
    table = list(table)
    column = main_column(table)
    methods = list(dict.fromkeys(row["method"] for row in table))

    def place(row: Row) -> tuple[int, float, str]:
        value = column.value(row) if column else None
        return methods.index(row["method"]), -(value or 0.0), row["arm"]

    return sorted(table, key=place)
