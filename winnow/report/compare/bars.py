"""Pictures with a row for each arm: its spending, and the corruption and the classes that it trained on."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from winnow.report.compare.axes import flops_axis, percent_axis
from winnow.report.compare.balance import Balance
from winnow.report.compare.columns import Row
from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.look import INK, corruption_colours, spent_colours
from winnow.report.compare.table import ranked
from winnow.report.page import numbers


def spending(table: list[Row]) -> Figure:
    """What each arm's FLOPs were spent on, and how many images it trained on."""
    order = ranked(table)[::-1]
    colours = spent_colours(table)
    widths = {purpose: [row["flops"].get(purpose) or 0 for row in order] for purpose in colours}
    figure, axes, ends = _stacked([row["arm"] for row in order], widths, colours)
    for place, row in enumerate(order):
        text = f"  {row['examples_seen']:,} images trained on"
        axes.text(ends[place], place, text, va="center", fontsize=9)
    flops_axis(axes, float(ends.max()), "FLOPs")
    return figure


def corruption_shares(table: list[Row], corruption: CorruptionShares) -> Figure:
    """The share of each kind of corruption in the pool version, and in what each arm trained on."""
    order = ranked(table)[::-1]
    shares = [*(corruption.arms[row["arm"]] for row in order), corruption.pool]
    names, colours = [*(row["arm"] for row in order), "pool version"], corruption_colours(corruption.kinds)
    widths = {kind: [share[kind] for share in shares] for kind in corruption.kinds}
    figure, axes, ends = _stacked(names, widths, colours)
    for place, whole in enumerate(ends):
        axes.text(whole, place, f" {numbers.percent(float(whole))}", va="center", fontsize=10)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_xlim(0, max(float(ends.max()) * 1.12, 0.01))
    percent_axis(axes, vertical=False)
    axes.set_xlabel("share of the examples trained on")
    return figure


def _stacked(
    names: list[str], widths: dict[str, list[float]], colours: dict[str, str]
) -> tuple[Figure, Axes, np.ndarray]:
    """Horizontal bars, the last name on top; also the ends of the bars."""
    figure, axes = plt.subplots(figsize=(8.6, 1.4 + 0.42 * len(names)), layout="constrained")
    left = np.zeros(len(names))
    for part, values in widths.items():
        axes.barh(names, values, left=left, color=colours[part], height=0.62, label=part.replace("_", " "))
        left += np.array(values, dtype=np.float64)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    columns = min(len(widths), 6)
    figure.legend(loc="outside upper left", ncols=columns, columnspacing=1.4, handlelength=1.4, fontsize=10)
    return figure, axes, left


def class_balance(table: list[Row], balance: Balance) -> Figure:
    """How many times as often as in the pool version an arm trained on each class."""
    rows = ranked(table)
    times = np.array([balance.arms[row["arm"]] for row in rows]) / balance.pool
    doublings = np.log2(np.maximum(times, 1e-6))
    size = (max(6.4, 2.6 + 0.62 * len(balance.names)), 1.9 + 0.42 * len(rows))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.imshow(doublings, cmap="PuOr", vmin=-2, vmax=2, aspect="auto")
    for (place, column), value in np.ndenumerate(times):
        colour = "white" if abs(doublings[place, column]) > 1.3 else INK
        axes.text(column, place, f"{value:.2f}", ha="center", va="center", fontsize=9, color=colour)
    axes.set_yticks(range(len(rows)), [row["arm"] for row in rows])
    axes.set_xticks(range(len(balance.names)), balance.names, rotation=35, ha="right")
    for name in axes.get_xticklabels():
        name.set_parse_math(False)  # a class may have a dollar sign in its name
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return figure
