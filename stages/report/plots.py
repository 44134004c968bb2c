"""The report's pictures, in PNG bytes that depend on nothing but the numbers."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from stages.report import numbers
from stages.report.axes import (
    FAINT,
    INK,
    SOFT,
    STYLE,
    Label,
    Look,
    cost_axis,
    dirt_colours,
    flops_axis,
    label,
    percent_axis,
    spent_colours,
)
from stages.report.balance import Balance
from stages.report.dirt import Dirt
from stages.report.table import MAIN, Row, choice, ranked

Curves = dict[str, tuple[list[float], list[float]]]  # arm -> FLOPs spent, kNN top-1 on val
PAID = {"curate": "the version", "reference": "the reference"}


def draw(folder: Path, table: list[Row], curves: Curves, dirt: Dirt, balance: Balance) -> dict[str, Path]:
    """Write every picture that the numbers allow into a folder; name -> file."""
    look = Look.of(table)
    wanted: dict[str, Callable[[], Figure]] = {
        "curves": lambda: training_curves(table, curves, look),
        "accuracy_flops": lambda: accuracy(table, look, "flops"),
        "spending": lambda: spending(table),
    }
    if any(row["gco2e"] is not None for row in table):
        wanted["accuracy_gco2e"] = lambda: accuracy(table, look, "gco2e")
    if dirt.kinds:
        wanted["dirt_shares"] = lambda: dirt_shares(table, dirt)
        wanted["dirt_over_training"] = lambda: dirt_over_training(table, dirt, look)
    if len(balance.names) > 1:
        wanted["class_balance"] = lambda: class_balance(table, balance)
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        return {name: _save(make(), folder / f"{name}.png") for name, make in wanted.items()}


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    return path


def short(row: Row, table: Sequence[Row]) -> str:
    """What tells an arm from the others of a panel: its policy or version, and its backbone and seed where they differ."""
    parts = [choice(row), *([row["backbone"]] if len({r["backbone"] for r in table}) > 1 else [])]
    return ", ".join(parts + ([f"seed {row['seed']}"] if len({r["seed"] for r in table}) > 1 else []))


def training_curves(table: list[Row], curves: Curves, look: Look) -> Figure:
    """A panel a method: kNN top-1 on val against FLOPs spent. A curve begins after the arm's share of its version's making and of
    the reference, which the bars at the foot show."""
    figure, panels = _panels(table, "kNN top-1 on val")
    values = [value for _, top1 in curves.values() for value in top1]
    low, high = (np.floor(10 * min(values)) / 10, max(values)) if values else (0.0, 1.0)
    unit = (high - low) / 14
    deepest = max(sum(_paid(row) > 0 for row in rows) for _, rows in panels)
    for axes, rows in panels:
        for row in rows:
            axes.plot(*curves[row["arm"]], color=look.colours[choice(row)], marker=look.markers[row["method"]], ms=4, lw=2)
        _reference_bars(axes, rows, look, low, unit)
        axes.set_ylim(low - unit * (0.3 + 0.9 * deepest), high + unit)
        axes.set_yticks([tick for tick in axes.get_yticks() if low - 1e-9 <= tick <= min(high + unit, 1.001)])
        flops_axis(axes, max(row["flops"]["total"] for row in table), "FLOPs spent, reference and scoring included")
    for axes, rows in panels:
        drawn = [(row, *curves[row["arm"]]) for row in rows if curves[row["arm"]][0]]
        label(axes, [Label(x[-1], y[-1], short(row, rows), look.colours[choice(row)]) for row, x, y in drawn])
    return figure


def _reference_bars(axes: Axes, rows: list[Row], look: Look, low: float, unit: float) -> None:
    """Below the lowest tick, a bar for each arm that pays for a version or a reference: what it had spent before its first step."""
    for place, row in enumerate(row for row in rows if _paid(row)):
        height, share = low - unit * (0.7 + 0.9 * place), _paid(row)
        what = " and ".join(name for part, name in PAID.items() if row["flops"][part])
        axes.plot([0, share], [height] * 2, color=look.colours[choice(row)], lw=6, solid_capstyle="butt")
        axes.annotate(f"paid for {what}", (share, height), (5, 0), textcoords="offset points", va="center", fontsize=9, color=SOFT)


def _paid(row: Row) -> int:
    """FLOPs before the first step."""
    return sum(int(row["flops"][part]) for part in PAID)


def accuracy(table: list[Row], look: Look, key: str) -> Figure:
    """Linear top-1 against total FLOPs or gCO2e, a marker an arm; arms whose cost is unknown are left out and named."""
    costs = {row["arm"]: row["flops"]["total"] if key == "flops" else row["gco2e"] for row in table}
    drawn = [row for row in table if costs[row["arm"]] is not None]
    figure, axes = plt.subplots(figsize=(6.4, 4.9), layout="constrained")
    for row in drawn:
        colour, marker = look.colours[choice(row)], look.markers[row["method"]]
        axes.plot(costs[row["arm"]], row["tasks"][MAIN], marker, color=colour, ms=10, mec="white", mew=1, zorder=3, clip_on=False)
    axes.set_ylabel("linear probe top-1 on test")
    axes.margins(y=0.12)
    percent_axis(axes)
    most = max(costs[row["arm"]] for row in drawn)
    if key == "flops":
        flops_axis(axes, most, "FLOPs in all: reference + scoring + training", 1.6)
        _budget_line(axes, table)
    else:
        cost_axis(axes, most, 1.6)
        axes.set_xlabel(f"gCO2e in all ({', '.join(sorted({row['energy_quality'] for row in drawn}))})")
    texts = {row["arm"]: f"{short(row, table)}  {numbers.percent(row['tasks'][MAIN])}" for row in drawn}
    label(axes, [Label(costs[row["arm"]], row["tasks"][MAIN], texts[row["arm"]], look.colours[choice(row)]) for row in drawn])
    _method_legend(axes, look, [row["arm"] for row in table if row not in drawn])
    return figure


def _budget_line(axes: Axes, table: list[Row]) -> None:
    budgets = {row["budget"] for row in table if row["budget"]}
    if len(budgets) == 1:
        budget = budgets.pop()
        axes.axvline(budget, color=FAINT, lw=1.2, ls=(0, (4, 3)), zorder=1)
        axes.text(budget, 0.01, "budget ", transform=axes.get_xaxis_transform(), ha="right", va="bottom", color=SOFT, fontsize=9)


def _method_legend(axes: Axes, look: Look, left_out: list[str]) -> None:
    handles = [Line2D([], [], ls="", marker=m, color=SOFT, ms=8, label=name) for name, m in look.markers.items()]
    handles += [Line2D([], [], ls="", label=f"{arm}: cost unknown") for arm in left_out]
    if len(handles) > 1:
        axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3, borderaxespad=0.2)


def spending(table: list[Row]) -> Figure:
    """Where each arm's FLOPs went, and the images it trained on for them."""
    order = ranked(table)[::-1]
    colours = spent_colours(table)
    shares = {purpose: [row["flops"][purpose] for row in order] for purpose in colours}
    figure, axes, ends = _stacked([row["arm"] for row in order], shares, colours)
    for place, row in enumerate(order):
        axes.text(ends[place], place, f"  {row['examples_seen']:,} images trained on", va="center", fontsize=9)
    flops_axis(axes, float(ends.max()), "FLOPs")
    return figure


def dirt_shares(table: list[Row], dirt: Dirt) -> Figure:
    """What share of the pool version, and of what each arm trained on, is dirt of which kind."""
    order = ranked(table)[::-1]
    held = [*(dirt.arms[row["arm"]] for row in order), dirt.pool]
    shares = {kind: [share[kind] for share in held] for kind in dirt.kinds}
    figure, axes, ends = _stacked([*(row["arm"] for row in order), "pool version"], shares, dirt_colours(dirt.kinds))
    for place, whole in enumerate(ends):
        axes.text(whole, place, f" {numbers.percent(float(whole))}", va="center", fontsize=10)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    axes.set_xlim(0, max(float(ends.max()) * 1.12, 0.01))
    percent_axis(axes, vertical=False)
    axes.set_xlabel("share of the examples trained on")
    return figure


def _stacked(names: list[str], widths: dict[str, list[float]], colours: dict[str, str]) -> tuple[Figure, Axes, np.ndarray]:
    """Horizontal bars, the last name on top; also the ends of the bars."""
    figure, axes = plt.subplots(figsize=(8.6, 1.4 + 0.42 * len(names)), layout="constrained")
    left = np.zeros(len(names))
    for part, values in widths.items():
        axes.barh(names, values, left=left, color=colours[part], height=0.62, label=part.replace("_", " "))
        left += np.array(values, dtype=np.float64)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside upper left", ncols=min(len(widths), 4))
    return figure, axes, left


def dirt_over_training(table: list[Row], dirt: Dirt, look: Look) -> Figure:
    """A panel a method: the share of dirt in each part of the training, against FLOPs spent, beside that of the pool."""
    figure, panels = _panels(table, "dirt among what was trained on")
    most = max(row["flops"]["total"] for row in table)
    for axes, rows in panels:
        axes.plot([0, most], [dirt.in_pool] * 2, color="#999999", lw=1.2, ls=(0, (4, 3)))
        for row in rows:
            axes.plot(*_course(row, dirt), color=look.colours[choice(row)], lw=2, marker=look.markers[row["method"]], ms=3)
        axes.set_ylim(0, max([dirt.in_pool, *(c.max() for c in dirt.course.values() if len(c))]) * 1.1)
        flops_axis(axes, most, "FLOPs spent, reference and scoring included")
    for axes, rows in panels:
        ends = [(row, *_course(row, dirt)) for row in rows if len(dirt.course[row["arm"]])]
        labels = [Label(x[-1], y[-1], short(row, rows), look.colours[choice(row)]) for row, x, y in ends]
        label(axes, [*labels, Label(most, dirt.in_pool, "pool version", SOFT, "normal")])
    return figure


def class_balance(table: list[Row], balance: Balance) -> Figure:
    """How many times as often as in the pool version an arm trained on each class, a row an arm."""
    rows = ranked(table)
    times = np.array([balance.arms[row["arm"]] for row in rows]) / balance.pool
    size = (max(6.4, 2.6 + 0.62 * len(balance.names)), 1.9 + 0.42 * len(rows))
    figure, axes = plt.subplots(figsize=size, layout="constrained")
    axes.imshow(np.log2(np.maximum(times, 1e-6)), cmap="PuOr", vmin=-2, vmax=2, aspect="auto")
    for place, values in enumerate(times):
        for column, value in enumerate(values):
            strong = abs(np.log2(max(value, 1e-6))) > 1.3
            axes.text(column, place, f"{value:.2f}", ha="center", va="center", fontsize=9, color="white" if strong else INK)
    axes.set_yticks(range(len(rows)), [row["arm"] for row in rows])
    axes.set_xticks(range(len(balance.names)), balance.names, rotation=35, ha="right")
    for name in axes.get_xticklabels():
        name.set_parse_math(False)  # a class may have a dollar sign in its name
    axes.tick_params(length=0)
    axes.grid(visible=False)
    return figure


def _course(row: Row, dirt: Dirt) -> tuple[np.ndarray, np.ndarray]:
    """FLOPs spent at the middle of each part of an arm's training, and the share of dirt in the part."""
    share, spent = dirt.course[row["arm"]], row["flops"]
    middle = (np.arange(len(share)) + 0.5) / max(len(share), 1)
    return _paid(row) + middle * (spent["score"] + spent["train"]), share


def _panels(table: list[Row], title: str) -> tuple[Figure, list[tuple[Axes, list[Row]]]]:
    """A figure with one panel for each method, sharing the vertical axis, in percent."""
    methods = list(dict.fromkeys(row["method"] for row in table))
    width = 5.2 * len(methods) if len(methods) > 1 else 8.6
    figure, grid = plt.subplots(1, len(methods), figsize=(width, 4.6), sharey=True, squeeze=False, layout="constrained")
    grid[0, 0].set_ylabel(title)
    for axes, method in zip(grid[0], methods, strict=True):
        axes.set_title(method, color=INK)
        percent_axis(axes)
    return figure, [(axes, [row for row in table if row["method"] == m]) for axes, m in zip(grid[0], methods, strict=True)]
