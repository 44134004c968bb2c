"""The pictures of accuracy against cost, a marker for each arm."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from winnow.report.compare.axes import EARLY, Label, cost_axis, flops_axis, label, percent_axis
from winnow.report.compare.columns import Column, Row
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.look import FAINT, SOFT, Look
from winnow.report.compare.table import arm_label, choice
from winnow.report.page import numbers

ROOM = 1.15  # and more for each letter of the longest label


def accuracy(
    table: list[Row], look: Look, column: Column, key: str, intervals: Intervals | None = None
) -> Figure:
    """Linear top-1, a column, against total FLOPs or gCO2e; arms of unknown cost are left out and named.

    Args:
        key: `flops` or `gco2e`.
        intervals: of the groups that the rows are the means of, drawn where they are known.
    """
    costs = {row["arm"]: row["flops"]["total"] if key == "flops" else row["gco2e"] for row in table}
    measured = [row for row in table if column.value(row) is not None]
    drawn = [row for row in measured if costs[row["arm"]] is not None]
    figure, axes = plt.subplots(figsize=(6.4, 4.9), layout="constrained")
    labels = []
    for row in drawn:
        value = column.value(row)
        assert value is not None
        x, y, colour = costs[row["arm"]], value, look.colours[choice(row)]
        style: dict[str, Any] = {"ls": "", "ms": 10, "mec": "white", "mew": 1, "zorder": 3, "clip_on": False}
        axes.plot([x], [y], marker=look.markers[row["method"]], color=colour, **style)
        found = intervals.of(row["arm"], column) if intervals else None
        if found and found.known:
            axes.vlines(x, found.low, found.high, color=colour, lw=1.6, alpha=0.55, zorder=2)
        end = max(costs[one["arm"]] for one in drawn)  # all names right of the last point
        if x < EARLY * end:
            axes.plot([x, end], [y, y], color=colour, lw=0.8, ls=":", zorder=1)
        labels.append(Label(end, y, f"{arm_label(row, table)}  {numbers.percent(y)}", colour))
    axes.set_ylabel(f"linear probe top-1 on test, {column.group}")
    axes.margins(y=0.12)
    percent_axis(axes)
    most = max(costs[row["arm"]] for row in drawn)
    room = ROOM + 0.028 * max(len(one.text) for one in labels)
    if key == "flops":
        flops_axis(axes, most, "FLOPs in total", room)
        _budget_line(axes, table)
    else:
        cost_axis(axes, most, room)
        axes.set_xlabel(f"gCO2e in total ({', '.join(sorted({row['energy_quality'] for row in drawn}))})")
    label(axes, labels)
    _method_legend(axes, look, [row["arm"] for row in measured if row not in drawn])
    return figure


def _budget_line(axes: Axes, table: list[Row]) -> None:
    budgets = {row["budget"] for row in table if row["budget"] and not isinstance(row["budget"], dict)}
    if len(budgets) == 1:
        (budget,) = budgets
        axes.axvline(budget, color=FAINT, lw=1.2, ls=(0, (4, 3)), zorder=1)
        place: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "ha": "right", "va": "bottom"}
        axes.text(budget, 0.01, "budget ", color=SOFT, fontsize=9, **place)


def _method_legend(axes: Axes, look: Look, left_out: list[str]) -> None:
    markers = look.markers.items()
    handles = [Line2D([], [], ls="", marker=m, color=SOFT, ms=8, label=name) for name, m in markers]
    handles += [Line2D([], [], ls="", label=f"{arm}: cost unknown") for arm in left_out]
    if len(handles) > 1:
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)
