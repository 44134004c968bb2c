"""The tables and the picture of benchmarks/regimes.py."""

import math
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from scipy.stats import t as student

mpl.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).resolve().parent
PAGE, PICTURE = HERE / "regimes.md", HERE.parent / "docs/img/regimes.png"
Row = dict[str, Any]
Cell = tuple[int, int, float]  # seed, trusted images, share that is wrong

DATA = {  # title, command, what is read, of how many
    "cifar10": ("Wrong labels", "labels cifar10=FILE", "accuracy on CIFAR-10's 10,000 test images", 10_000),
    "emoji": ("Shuffled captions", "captions", "mean of both recalls at 1 among 1,000 test pairs", 1_000),
}
COLOURS = ["#c0392b", "#2471a3", "#1e8449", "#b9770e", "#7d3c98"]
GREYS = ["#222222", "#999999", "#666666", "#444444", "#bbbbbb"]
NOTES = """Cells: in per cent, {reads}, at each number of steps. Behind a policy's: its difference, in
points, from the best control at equal FLOPs, the reference included (the best of the controls' values, each
interpolated between its runs on the logarithm of FLOPs; `<` where the policy spent more than their longest
run, so that the true difference is smaller). **Bold**: more than 1.5 points, above or below. The first
seed; it says little about less."""
SEEDS = """Over seeds, with 95 % intervals of Student's t over them: points above the best control at equal
FLOPs, the reference included; and how many times fewer FLOPs the policy takes to what the controls reach at
their best. That is read, for each seed, at the control run that spends least of those within one standard
error of the best one, so that no plateau is counted; the policy's FLOPs there are interpolated between its
runs on the logarithm. `<` where the policy does not reach it with some seed (the mean counts its longest
run). Beyond: how often a policy's run is above every control run of its seed, whatever that spent."""


def write_table(rows: Sequence[Row], policies: Sequence[str], controls: Sequence[str]) -> None:
    """Write regimes.md and the picture from all runs that there are."""
    if not rows:
        return
    machine = f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}"
    parts = [f"# When does selection pay?\n\nLearner test_resnet, reference test_byobnet; {machine}."]
    for data, (title, command, reads, tested) in DATA.items():
        some = [row for row in rows if row["data"] == data]
        if some:
            parts += [f"## {title}\n\n`python -m benchmarks.regimes {command}`", NOTES.format(reads=reads)]
            parts += [grid(some, policies, controls), border(some, policies, controls, tested)]
    PAGE.write_text("\n\n".join(part for part in parts if part) + "\n")
    draw(rows, policies, controls)
    print(PAGE.read_text())


def curve(rows: Sequence[Row], cell: Cell, arm: str) -> list[Row]:
    """The runs of an arm in a cell, the shortest first."""
    seed, reference, wrong = cell
    found = []
    for row in rows:
        anywhere = {"pool": "reference", "reference": "wrong"}.get(arm)  # it does not depend on this one
        here = {"arm": arm, "seed": seed, "reference": reference, "wrong": wrong}
        if all(row[name] == value for name, value in here.items() if name != anywhere):
            found.append(row)
    return sorted(found, key=lambda row: int(row["steps"]))


def best_control(
    rows: Sequence[Row], cell: Cell, controls: Sequence[str], flops: float
) -> tuple[float, bool]:
    """The best accuracy that a control reaches with so many FLOPs, and whether they exceed its runs."""
    found = []
    for control in controls:
        if runs := curve(rows, cell, control):
            logs = [math.log(run["flops"]) for run in runs]
            accuracy = float(np.interp(math.log(flops), logs, [run["accuracy"] for run in runs]))
            found.append((accuracy, math.log(flops) > logs[-1] + 0.02))
    return max(found, default=(math.nan, False))


def times_fewer(
    rows: Sequence[Row], cell: Cell, arm: str, controls: Sequence[str], tested: int
) -> tuple[float, str]:
    """FLOPs of the cheapest control run within one standard error of the best, over the policy's there;
    `<` if the policy does not reach it.
    """
    every = [run for one in controls for run in curve(rows, cell, one)]
    best = max(run["accuracy"] for run in every)
    error = math.sqrt(best * (1 - best) / tested)
    control = min((run for run in every if run["accuracy"] >= best - error), key=lambda run: run["flops"])
    runs, target = curve(rows, cell, arm), control["accuracy"]
    logs = [math.log(run["flops"]) for run in runs]
    if runs[0]["accuracy"] >= target:
        return control["flops"] / runs[0]["flops"], ">"
    for i in range(1, len(runs)):
        low, high = runs[i - 1]["accuracy"], runs[i]["accuracy"]
        if low < target <= high:
            at = logs[i - 1] + (target - low) / (high - low) * (logs[i] - logs[i - 1])
            return control["flops"] / math.exp(at), ""
    return control["flops"] / runs[-1]["flops"], "<"


def cells(rows: Sequence[Row]) -> list[Cell]:
    """All cells that policies were run in, by share, size and seed."""
    found = {(row["seed"], row["reference"], row["wrong"]) for row in rows}
    return sorted(found, key=lambda one: (one[2], one[1], one[0]))


def grid(rows: Sequence[Row], policies: Sequence[str], controls: Sequence[str]) -> str:
    """The table of the first seed."""
    steps = sorted({row["steps"] for row in rows})
    head = ["wrong", "trusted", "arm", *(f"{one} steps" for one in steps), "wrong ones seen"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for cell in cells(rows):
        for arm in [*controls, *policies] if cell[0] == 0 else []:
            if runs := {run["steps"]: run for run in curve(rows, cell, arm)}:
                values = [shown(rows, cell, runs[one], controls) if one in runs else "" for one in steps]
                seen = f"{100 * runs[max(runs)]['wrong_seen']:.0f} %"
                lines.append(
                    f"| {100 * cell[2]:.0f} % | {cell[1]:,} | {arm} | {' | '.join(values)} | {seen} |"
                )
    return "\n".join(lines)


def shown(rows: Sequence[Row], cell: Cell, run: Row, controls: Sequence[str]) -> str:
    """An accuracy, and a policy's difference from the best control."""
    accuracy = f"{100 * run['accuracy']:.1f}"
    if run["arm"] in controls:
        return accuracy
    control, beyond = best_control(rows, cell, controls, run["flops"])
    points = 100 * (run["accuracy"] - control)
    difference = f"{'<' if beyond else ''}{points:+.1f}"
    return f"{accuracy} ({f'**{difference}**' if abs(points) > 1.5 else difference})"


def border(rows: Sequence[Row], policies: Sequence[str], controls: Sequence[str], tested: int) -> str:
    """What each policy is worth over the seeds of each cell that has three or more."""
    by_cell: dict[tuple[int, float], list[Cell]] = {}
    for cell in cells(rows):
        by_cell.setdefault(cell[1:], []).append(cell)
    head = ["wrong", "trusted", "policy", "seeds", "steps", "points", "beyond", "times fewer FLOPs"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for arm in policies:
        for (reference, wrong), every in by_cell.items():
            mine = [cell for cell in every if curve(rows, cell, arm) and _controlled(rows, cell, controls)]
            if len(mine) > 2:
                start = f"| {100 * wrong:.0f} % | {reference:,} | {arm} | {len(mine)}"
                factors = [times_fewer(rows, cell, arm, controls, tested) for cell in mine]
                sign = "".join(sorted({one for _, one in factors if one}))
                times = _with_interval([math.log(factor) for factor, _ in factors], math.exp, ".2f")
                for steps in sorted({run["steps"] for run in curve(rows, mine[0], arm)}):
                    points, beyond = _points(rows, mine, arm, steps, controls)
                    mean = _with_interval(points, float, "+.1f")
                    lines.append(f"{start} | {steps} | {mean} | {beyond} of {len(mine)} | {sign}{times} |")
    return f"{SEEDS}\n\n" + "\n".join(lines) if len(lines) > 2 else ""


def _controlled(rows: Sequence[Row], cell: Cell, controls: Sequence[str]) -> bool:
    return any(curve(rows, cell, control) for control in controls)


def _points(
    rows: Sequence[Row], mine: Sequence[Cell], arm: str, steps: int, controls: Sequence[str]
) -> tuple[list[float], int]:
    """Points above the best control with each seed, and how many runs are above all control runs."""
    points, beyond = [], 0
    for cell in mine:
        run = next(run for run in curve(rows, cell, arm) if run["steps"] == steps)
        points.append(100 * (run["accuracy"] - best_control(rows, cell, controls, run["flops"])[0]))
        every = [other["accuracy"] for one in controls for other in curve(rows, cell, one)]
        beyond += run["accuracy"] > max(every)
    return points, beyond


def _with_interval(values: Sequence[float], back: Callable[[float], float], form: str) -> str:
    low, high = interval(values)
    return f"{back(float(np.mean(values))):{form}} ({back(low):{form}} to {back(high):{form}})"


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean by Student's t."""
    half = student.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    return float(np.mean(values) - half), float(np.mean(values) + half)


def draw(rows: Sequence[Row], policies: Sequence[str], controls: Sequence[str]) -> None:
    """Accuracy against all FLOPs in every cell that was run whole: the mean of its seeds, and each seed."""
    panels = []
    for data in DATA:
        some = [row for row in rows if row["data"] == data]
        for at in sorted({(row["reference"], row["wrong"]) for row in some}):
            if any(curve(some, (0, *at), arm) for arm in policies):
                panels.append((data, some, at))
    if not panels:
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(4.4 * len(panels), 4.2), squeeze=False)
    styles = dict(zip(policies, COLOURS, strict=False)) | dict(zip(controls, GREYS, strict=False))
    for axis, (data, some, at) in zip(axes[0], panels, strict=True):
        for arm in [*controls, *policies]:
            _draw_arm(axis, some, at, arm, styles[arm], arm in controls)
        what = "labels" if data == "cifar10" else "captions"
        axis.set_title(f"{100 * at[1]:.0f} % wrong {what}, {at[0]:,} trusted", fontsize=11)
        axis.set_xscale("log")
        axis.set_xlabel("TFLOPs, all counted")
        axis.set_ylabel("top-1, %" if data == "cifar10" else "recall at 1, %")
        axis.legend(fontsize=7.5, frameon=False)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
        axis.minorticks_off()
        axis.set_xlim(0.4, 13)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=130, metadata={"Software": None})
    plt.close(figure)


def _draw_arm(
    axis: Any, rows: Sequence[Row], at: tuple[int, float], arm: str, colour: str, control: bool
) -> None:
    by_steps: dict[int, list[Row]] = {}
    for seed in sorted({row["seed"] for row in rows}):
        for run in curve(rows, (seed, *at), arm):
            by_steps.setdefault(run["steps"], []).append(run)
    if not by_steps:
        return
    flops = [np.mean([run["flops"] for run in runs]) / 1e12 for _, runs in sorted(by_steps.items())]
    means = [100 * np.mean([run["accuracy"] for run in runs]) for _, runs in sorted(by_steps.items())]
    style = "--" if control else "-"
    axis.plot(flops, means, style, color=colour, lw=1.3 if control else 2, marker="o", ms=3.5, label=arm)
    for runs in by_steps.values():
        seen = [(run["flops"] / 1e12, 100 * run["accuracy"]) for run in runs]
        axis.plot(*zip(*seen, strict=True), ".", color=colour, ms=2, alpha=0.6)
