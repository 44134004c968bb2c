"""Pictures of the course of training, a panel for each method: accuracy, and the corruption trained on."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from winnow.evaluation.curve import Row as Reading
from winnow.report.compare.axes import Label, flops_axis, label, percent_axis
from winnow.report.compare.columns import Row
from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.look import INK, SOFT, Look
from winnow.report.compare.table import arm_label, choice

# Paid for before the first step.
UPFRONT = {"curate": "the version", "reference": "the reference", "weights": "the weights"}
TITLE = "FLOPs spent, reference and scoring included"
Line = tuple[Any, Any]  # x and y
Panels = list[tuple[Axes, list[Row]]]


def training_curves(table: list[Row], curves: Mapping[str, list[Reading]], look: Look) -> Figure:
    """kNN top-1 on val, or the loss where no task set is read, against FLOPs spent.

    A curve begins after what the arm paid for its version and its reference, which the bars at the foot show.
    An encoder that is not trained is a dashed line at its height.
    """
    read = all("val_top1" in one for rows in curves.values() for one in rows)
    figure, panels = _panels(table, "kNN top-1 on val" if read else "training loss", percent=read)
    key = "val_top1" if read else "loss"
    known = {arm: [one for one in rows if key in one] for arm, rows in curves.items()}  # frozen: no loss
    lines = {arm: ([one["flops"] for one in rows], [one[key] for one in rows]) for arm, rows in known.items()}
    most = max(row["flops"]["total"] for row in table)
    still = {row["arm"] for row in table if row.get("frozen") and lines[row["arm"]][1]}
    lines |= {arm: ([0, most], [lines[arm][1][-1]] * 2) for arm in still}
    values = [value for _, top1 in lines.values() for value in top1]
    low, high = (np.floor(10 * min(values)) / 10, max(values)) if values else (0.0, 1.0)
    unit = (high - low) / 14 or 0.01
    most_bars = max(sum(_upfront(row) > 0 for row in rows) for _, rows in panels)
    for axes, rows in panels:
        for row in rows:
            colour, marker = look.colours[choice(row)], look.markers[row["method"]]
            style: dict[str, Any] = {"marker": marker, "ms": 4, "lw": 2}
            if row["arm"] in still:
                style = {"ls": (0, (4, 3)), "lw": 1.4}
            axes.plot(*lines[row["arm"]], color=colour, **style)
        _upfront_bars(axes, rows, look, low, unit)
        axes.set_ylim(low - unit * (0.3 + 0.9 * most_bars), high + unit)
        top = min(high + unit, 1.001) if read else high + unit
        axes.set_yticks([tick for tick in axes.get_yticks() if low - 1e-9 <= tick <= top])
        flops_axis(axes, most, TITLE)
    _label_ends(panels, lines, look)
    return figure


def corruption_over_training(table: list[Row], corruption: CorruptionShares, look: Look) -> Figure:
    """The corrupted share of each part of the training against FLOPs spent, beside the pool version's."""
    figure, panels = _panels(table, "corrupted share of the examples trained on")
    most = max(row["flops"]["total"] for row in table)
    lines = {row["arm"]: _course(row, corruption.course[row["arm"]]) for row in table}
    highest = max([corruption.in_pool, *(y.max() for _, y in lines.values() if len(y))])
    for axes, rows in panels:
        axes.plot([0, most], [corruption.in_pool] * 2, color="#999999", lw=1.2, ls=(0, (4, 3)))
        for row in rows:
            colour, marker = look.colours[choice(row)], look.markers[row["method"]]
            axes.plot(*lines[row["arm"]], color=colour, marker=marker, ms=3, lw=2)
        axes.set_ylim(0, highest * 1.1)
        flops_axis(axes, most, TITLE)
    _label_ends(panels, lines, look, [Label(most, corruption.in_pool, "pool version", SOFT, "normal")])
    return figure


def _panels(table: list[Row], title: str, percent: bool = True) -> tuple[Figure, Panels]:
    """A figure with a panel for each method, and its rows; the panels share a vertical axis."""
    methods = list(dict.fromkeys(row["method"] for row in table))
    size = (5.2 * len(methods) if len(methods) > 1 else 8.6, 4.6)
    figure, grid = plt.subplots(
        1, len(methods), figsize=size, sharey=True, squeeze=False, layout="constrained"
    )
    grid[0, 0].set_ylabel(title)
    for axes, method in zip(grid[0], methods, strict=True):
        axes.set_title(method, color=INK)
        if percent:
            percent_axis(axes)
    rows = [[row for row in table if row["method"] == method] for method in methods]
    return figure, list(zip(grid[0], rows, strict=True))


def _label_ends(
    panels: Panels, lines: Mapping[str, Line], look: Look, more: list[Label] | None = None
) -> None:
    """Name each line where it ends; when all limits are final."""
    for axes, rows in panels:
        ends = [(row, *lines[row["arm"]]) for row in rows if len(lines[row["arm"]][0])]
        labels = [Label(x[-1], y[-1], arm_label(row, rows), look.colours[choice(row)]) for row, x, y in ends]
        label(axes, [*labels, *(more or [])])


def _upfront_bars(axes: Axes, rows: list[Row], look: Look, low: float, unit: float) -> None:
    """Below the lowest tick, a bar for each arm that had spent something before its first step."""
    for place, row in enumerate(row for row in rows if _upfront(row)):
        height, spent = low - unit * (0.7 + 0.9 * place), _upfront(row)
        text = f"paid for {' and '.join(name for part, name in UPFRONT.items() if row['flops'].get(part))}"
        axes.plot([0, spent], [height] * 2, color=look.colours[choice(row)], lw=6, solid_capstyle="butt")
        style: dict[str, Any] = {"va": "center", "fontsize": 9, "color": SOFT}
        axes.annotate(text, (spent, height), (5, 0), textcoords="offset points", **style)


def _upfront(row: Row) -> int:
    """FLOPs spent before the first step."""
    return sum(int(row["flops"].get(part) or 0) for part in UPFRONT)


def _course(row: Row, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """FLOPs spent at the middle of each part of an arm's training, and the part's share of corruption."""
    middle = (np.arange(len(share)) + 0.5) / max(len(share), 1)
    return _upfront(row) + middle * (row["flops"]["score"] + row["flops"]["train"]), share
