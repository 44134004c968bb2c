"""The tables of benchmarks/selection.py: what each policy needs for what uniform sampling reached."""

import itertools
import math
from typing import Any

import numpy as np

from benchmarks.selection_settings import Setting
from winnow.selection.policy import UNIFORM

Runs = list[dict[str, float]]

HEADS = {
    "corruption": "corrupted share",
    "noise": "noise trained on",
    "permuted": "permuted pixels trained on",
    "copies": "copies trained on",
}
GLOSS = """Cells hold one value per seed; a row with fewer values was not run with all seeds. Times fewer: the
steps (or FLOPs) of uniform's shortest run within one standard error of its best, over those that reach that run's accuracy,
so that no plateau is counted; `>` if the shortest run already reached it, `<` if the longest did not. Pays after: how many runs must share a reference until it has paid for itself. At equal FLOPs: the
accuracy of the longest run and, in brackets, of uniform sampling that spends as much, the reference included (interpolated
between uniform's runs on the logarithm of FLOPs; `<` where that is less than its shortest run, `>` where it is more than its
longest, so that uniform might still have gained)."""  # noqa: E501


def needed(runs: Runs, target: float, key: str) -> tuple[str, float]:
    """How much of `key` reaches the target: `<` or `>` what was run, or blank if it is interpolated."""
    runs = sorted(runs, key=lambda run: run["steps"])
    if runs[0]["accuracy"] >= target:
        return "<", runs[0][key]
    for less, more in itertools.pairwise(runs):
        if more["accuracy"] >= target:
            part = (target - less["accuracy"]) / (more["accuracy"] - less["accuracy"])
            return "", math.exp(math.log(less[key]) + part * (math.log(more[key]) - math.log(less[key])))
    return ">", runs[-1][key]


def earliest(runs: Runs, tested: int) -> dict[str, float]:
    """The shortest run whose accuracy is within one standard error of the best, of so many test images."""
    best = max(run["accuracy"] for run in runs)
    error = math.sqrt(best * (1 - best) / tested)
    return min((run for run in runs if run["accuracy"] >= best - error), key=lambda run: run["steps"])


def at_flops(runs: Runs, flops: float) -> str:
    """The accuracy that these runs of a policy reach with so many FLOPs."""
    runs = sorted(runs, key=lambda run: run["steps"])
    logs = [math.log(run["flops"]) for run in runs]
    value = float(np.interp(math.log(flops), logs, [run["accuracy"] for run in runs]))
    sign = "<" if math.log(flops) < logs[0] else ">" if math.log(flops) > logs[-1] + 1e-9 else ""
    return f"{sign}{100 * value:.1f}"


def summary(setting: Setting, seeds: dict[str, dict[str, Any]]) -> str:
    """The table, one row per policy; each cell holds the seeds' values."""
    titles = ["policy", "steps: times fewer", "FLOPs: times fewer", "with the reference's", "pays after"]
    titles += ["accuracy at equal FLOPs, %", *(HEADS[share] for share in setting.shares)]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for arm in setting.arms:
        rows = [cells(setting, arm, result) for result in seeds.values() if arm in result["runs"]]
        if rows:
            joined = [" / ".join(column) for column in zip(*rows, strict=True)]
            lines.append(f"| {arm} | {' | '.join(joined)} |")
    return "\n".join(lines)


def cells(setting: Setting, arm: str, result: dict[str, Any]) -> list[str]:
    """The cells of one policy with one seed."""
    policy, found = setting.arms[arm][0], result["runs"]
    runs: dict[str, Runs] = {name: sorted(of, key=lambda run: run["steps"]) for name, of in found.items()}
    free = policy.criterion in ("uniform", "hard") or policy.online
    cost = 0.0 if free else float(result["reference_flops"])
    base = earliest(runs["uniform"], setting.tested)
    sign, steps = needed(runs[arm], base["accuracy"], "steps")
    _, flops = needed(runs[arm], base["accuracy"], "flops")
    flip, last = {"<": ">", ">": "<", "": ""}[sign], runs[arm][-1]
    fewer = (base["steps"] / steps, base["flops"] / flops, base["flops"] / (flops + cost))
    saved = base["flops"] - flops
    paid = "never" if saved < 0 else f"{math.ceil(cost / saved) if cost else 0}"
    return [
        *(f"{flip}{ratio:.1f}" for ratio in fewer),
        "" if policy == UNIFORM else "not reached" if sign == ">" else paid,
        f"{100 * last['accuracy']:.1f} ({at_flops(runs['uniform'], last['flops'] + cost)})",
        *(f"{100 * last[share]:.1f} %" for share in setting.shares),
    ]
