"""Pictures of the course of training, a panel for each method: accuracy, and the corruption trained on."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from winnow.evaluation.curve import Row as Reading
from winnow.report.compare.axes import EARLY, Label, cost_axis, flops_axis, label, percent_axis
from winnow.report.compare.columns import Row
from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.look import INK, SOFT, Look
from winnow.report.compare.table import arm_label, choice
from winnow.report.compare.views import ACCURACY, FLOPS, READ, View

# Paid for before the first step.
UPFRONT = {"curate": "the version", "reference": "the reference", "weights": "the weights"}
Line = tuple[Any, Any]  # x and y
Panels = list[tuple[Axes, list[Row]]]


def training_curves(
    table: list[Row],
    curves: Mapping[str, list[Reading]],
    look: Look,
    view: View = FLOPS,
    seeds: Mapping[str, list[list[Reading]]] | None = None,
) -> Figure:
    """kNN top-1 on val, or the loss where no task set is read, against what the view is of.

    A curve begins after what the arm paid for its version and its reference, which against FLOPs the bars at
    the foot show. An encoder that is not trained is a dashed line at its height. Where `seeds` holds several
    curves of an arm they are thin lines behind their mean.
    """
    read = all(ACCURACY in one for rows in curves.values() for one in rows)
    figure, panels = _panels(table, READ if read else "training loss", percent=read)
    key = ACCURACY if read else "loss"
    lines, most = _lines(table, curves, key, view)
    still = {row["arm"] for row in table if row.get("frozen") and lines[row["arm"]][1]}
    values = [value for _, top1 in lines.values() for value in top1]
    low, high = (np.floor(10 * min(values)) / 10, max(values)) if values else (0.0, 1.0)
    unit = (high - low) / 14 or 0.01
    bars = view is FLOPS
    most_bars = max(sum(_upfront(row) > 0 for row in rows) for _, rows in panels) if bars else 0
    for axes, rows in panels:
        for row in rows:
            colour, marker = look.colours[choice(row)], look.markers[row["method"]]
            style: dict[str, Any] = {"marker": marker, "ms": 4, "lw": 2}
            if row["arm"] in still:
                style = {"ls": (0, (4, 3)), "lw": 1.4}
            axes.plot(*lines[row["arm"]], color=colour, **style)
            for one in (seeds or {}).get(row["arm"], []) if row["arm"] not in still else []:
                axes.plot(*_points(one, key, view), color=colour, lw=0.8, alpha=0.45, zorder=1.5)
        if bars:
            _upfront_bars(axes, rows, look, low, unit)
        axes.set_ylim(low - unit * (0.3 + 0.9 * most_bars), high + unit)
        top = min(high + unit, 1.001) if read else high + unit
        axes.set_yticks([tick for tick in axes.get_yticks() if low - 1e-9 <= tick <= top])
        _axis(axes, most, view)
    _label_ends(panels, lines, look)
    return figure


def _lines(
    table: list[Row], curves: Mapping[str, list[Reading]], value: str, view: View
) -> tuple[dict[str, Line], float]:
    """The line of each arm, empty where it was not read so, and how far they go."""
    known = {arm: [one for one in rows if value in one] for arm, rows in curves.items()}  # frozen: no loss
    lines: dict[str, Line] = {arm: _points(rows, value, view) for arm, rows in known.items()}
    totals = [row["flops"]["total"] for row in table] if view is FLOPS else []
    most = max([*totals, *(x for places, _ in lines.values() for x in places)], default=0)
    for row in table:
        if row.get("frozen") and known[row["arm"]]:
            lines[row["arm"]] = [0, most], [known[row["arm"]][-1][value]] * 2
    return lines, most


def _points(readings: list[Reading], value: str, view: View) -> Line:
    both = [one for one in readings if view.key in one and value in one]
    return [one[view.key] for one in both], [one[value] for one in both]


def _axis(axes: Axes, most: float, view: View) -> None:
    if view is FLOPS:
        flops_axis(axes, most, view.title)
    else:
        cost_axis(axes, most)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}" if most >= 10 else f"{v:g}"))
        axes.set_xlabel(view.title)


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
        flops_axis(axes, most, FLOPS.title)
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
        most, labels = max((x[-1] for _, x, _ in ends), default=0), []
        for row, x, y in ends:  # all names right of the longest line, so that none lies on another line
            colour, end = look.colours[choice(row)], max(x[-1], most)
            if x[-1] < EARLY * most:
                axes.plot([x[-1], end], [y[-1]] * 2, color=colour, lw=0.8, ls=":")
            labels.append(Label(end, y[-1], arm_label(row, rows), colour))
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
