"""table.json: one row an arm, built from the stages' own files; and the same as a table for the terminal and the README.

FLOPs of an arm are what it is charged: its share of its version's curation and of the reference, scoring and training. Energy, CO2e and
seconds are those of its pretrain stage, plus the same share of the refine stages that made its version (curated.py), and, for an arm
that pays for a reference, of the reference stage: flops.reference of the arm over flops.reference of results/reference/cost.json (the
FLOPs of all methods' references). Where a
part is unknown the sum is unknown (None, never 0), and `energy_quality` is that of the worst part. Downstream tasks are not
charged: every arm pays the same for them.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from stages.params import POOL, ROOT, UNTRAINED, Arm, Params
from stages.report import curated, numbers
from stages.report.files import read_json, require

Row = dict[str, Any]

KEYS = (
    "arm", "policy", "method", "backbone", "seed", "version", "flops", "kwh", "gco2e", "energy_quality", "seconds", "examples_seen",
    "tasks", "budget", "stopped_by",
)  # fmt: skip
FLOPS = ("curate", "reference", "score", "train", "total")
QUALITIES = ("counter", "estimated", "unknown")  # best first
MAIN = "linear_probe.top1"
# The metrics with a column of their own, and its heading; the report lists the others below the table.
HEADLINES = (
    (r"pretrain\.test_i2t_r1", "image to text R@1"),
    (r"pretrain\.test_t2i_r1", "text to image R@1"),
    (r"pretrain\.test_zero_shot_top1", "zero-shot"),
    (r"linear_probe\.top1", "linear top-1"),
    (r"semi_supervised\.top1_([\d.]+)pct", r"\1 % labels"),
    (r"detection\.(?:box|bbox)_?ap_?50", "box AP50"),
)


def task_names(dvc_yaml: Path = ROOT / "dvc.yaml") -> list[str]:
    """The stages that run once an arm on its encoder: a task that is added to dvc.yaml is in the comparison."""
    stages = yaml.safe_load(dvc_yaml.read_text(encoding="utf-8"))["stages"]
    return [name for name, block in stages.items() if block.get("foreach") == "${arms}" and name != "pretrain"]


def rows(params: Params, root: Path = ROOT) -> list[Row]:
    """One row for each arm of params.yaml, in its order.

    Raises:
        ValueError: naming the first file that is missing.
    """
    tasks = task_names()
    elsewhere = params.reference.after != UNTRAINED
    return [_row(name, arm, tasks, root, elsewhere, params.pretrain.curation_share) for name, arm in params.arms.items()]


def protocols(params: Params, root: Path = ROOT) -> dict[str, dict[str, list[str]]]:
    """task -> protocol -> the arms that were measured so, because a number without its protocol says little."""
    found: dict[str, dict[str, list[str]]] = {}
    for task in ["pretrain", *task_names()]:
        for arm in params.arms:
            metrics = read_json(require(root, task, "metrics.json", arm))
            if task != "pretrain" or "protocol" in metrics:  # pretraining itself reads a test split with captions only
                found.setdefault(task, {}).setdefault(str(metrics.get("protocol", "not stated")), []).append(arm)
    return found


def _row(name: str, arm: Arm, tasks: list[str], root: Path, elsewhere: bool, share: float) -> Row:
    metrics = read_json(require(root, "pretrain", "metrics.json", name))
    spent = {purpose: int(metrics["flops"][purpose]) for purpose in FLOPS[:-1]}
    identity = {"arm": name, "policy": arm.policy, "method": arm.method, "backbone": arm.backbone, "seed": arm.seed}
    identity["version"] = arm.version
    return {
        **identity,
        "flops": {**spent, "total": sum(spent.values())},
        **_energy(name, arm, spent, root, elsewhere, share),
        "examples_seen": metrics["examples_seen"],
        "tasks": _task_values(name, tasks, root),
        "budget": metrics["budget"],
        "stopped_by": metrics["stopped_by"],
    }


def _energy(name: str, arm: Arm, spent: dict[str, int], root: Path, elsewhere: bool, curation_share: float) -> Row:
    """kwh, gco2e, seconds and energy_quality of the pretrain stage, and the arm's share of its version's and the reference's making.

    A reference that was trained `elsewhere` left its FLOPs there, and neither energy nor time: the sums are unknown.
    """
    parts = [(1.0, read_json(require(root, "pretrain", "cost.json", name)))]
    parts += curated.parts(arm.version, curation_share, root, elsewhere)
    reference_flops = spent["reference"]
    if reference_flops:
        path = require(root, "reference", "cost.json")
        cost = read_json(path)
        whole = cost["flops"]["reference"]
        if whole < reference_flops:
            raise ValueError(
                f"{path}: {whole} reference FLOPs, and arm {name} was charged {reference_flops}; run: dvc repro pretrain@{name}"
            )
        parts.append((reference_flops / whole, cost | (dict.fromkeys(("kwh", "gco2e", "seconds")) if elsewhere else {})))
        parts[-1][1].update({"energy_quality": "unknown"} if elsewhere else {})
    quality = max((cost["energy_quality"] for _, cost in parts), key=QUALITIES.index)
    return {key: _sum(parts, key) for key in ("kwh", "gco2e", "seconds")} | {"energy_quality": quality}


def _sum(parts: list[tuple[float, dict[str, Any]]], key: str) -> float | None:
    values = [None if cost[key] is None else share * cost[key] for share, cost in parts]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _task_values(arm: str, tasks: list[str], root: Path) -> dict[str, float]:
    """TASK.METRIC -> value, of all that are numbers."""
    values: dict[str, float] = {}
    for task in ["pretrain", *tasks]:
        metrics = read_json(require(root, task, "metrics.json", arm))
        numeric = {k: v for k, v in metrics.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        if task == "pretrain":
            numeric = {k: v for k, v in numeric.items() if re.search(r"(top1|_r\d+)$", k)}  # the rest are costs and counts
        values.update({f"{task}.{name}": value for name, value in numeric.items()})
    return values


def choice(row: Row) -> str:
    """What an arm chose to train on, in a word or two: its policy, and its version where that is not the pool's."""
    policy, version = str(row["policy"]), str(row["version"])
    return policy if version == POOL else version if policy == "uniform" else f"{policy} on {version}"


def ranked(table: Iterable[Row]) -> list[Row]:
    """Methods in the order of params.yaml, each with its best linear top-1 first."""
    table = list(table)
    order = {method: place for place, method in reversed(list(enumerate(row["method"] for row in table)))}
    return sorted(table, key=lambda row: (order[row["method"]], -row["tasks"].get(MAIN, 0.0), row["arm"]))


def headlines(table: Iterable[Row]) -> dict[str, str]:
    """TASK.METRIC -> heading, for the metrics with a column of their own, in the order of `HEADLINES`."""
    keys = sorted({key for row in table for key in row["tasks"]}, key=_natural)
    return {key: re.sub(pattern, heading, key, flags=re.I) for pattern, heading in HEADLINES
            for key in keys if re.fullmatch(pattern, key, flags=re.I)}  # fmt: skip


def _natural(key: str) -> tuple[str, float, str]:
    """Sort keys such as top1_1pct and top1_10pct by their last number."""
    found = re.search(r"([\d.]+)\D*$", key)
    return (key[: found.start()], float(found.group(1).strip(".") or 0), key) if found else (key, 0.0, key)


def markdown(table: Iterable[Row], dirty: Mapping[str, float] | None = None) -> str:
    """A GitHub table that a terminal can show as it is; `dirty` holds the share of dirt that each arm trained on."""
    table = ranked(table)
    titles = headlines(table)
    qualities = "/".join(sorted({row["energy_quality"] for row in table}, key=QUALITIES.index))
    refined = any(row["version"] != POOL for row in table)  # a column that could only say `pool` says nothing
    parts = [*(["curate"] if refined else []), "ref", "score", "train"]
    head = ["arm", "policy", "method", *(["version"] if refined else []), *titles.values()]
    head += ["dirt trained on", "FLOPs total", " + ".join(parts)]
    head += [f"CO2e ({qualities})", "time"]
    body = [_cells(row, list(titles), dirty, refined) for row in table]
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    left = 3 + refined
    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    lines = [[cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))]
             for line in (head, rule, *body)]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _cells(row: Row, keys: list[str], dirty: Mapping[str, float] | None, refined: bool) -> list[str]:
    spent = row["flops"]
    total = spent["total"] or 1
    split = " + ".join(f"{100 * spent[purpose] / total:.0f}" for purpose in FLOPS[0 if refined else 1 : -1])
    cells = [
        row["arm"],
        row["policy"],
        row["method"],
        *([row["version"]] if refined else []),
        *(numbers.percent(row["tasks"].get(key)) for key in keys),
    ]
    cells += [numbers.percent((dirty or {}).get(row["arm"])), numbers.flops(spent["total"]), f"{split} %"]
    return [*cells, numbers.grams(row["gco2e"]), numbers.seconds(row["seconds"])]
