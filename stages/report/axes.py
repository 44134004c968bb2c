"""What the report's pictures share: one colour a policy, one marker a method, axes in FLOPs and percent, labels that do not overlap.

Colours: Okabe and Ito's for policies (uniform, the control, is grey), Paul Tol's "muted" for kinds of dirt; both keep apart under the
common colour blindnesses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from stages.report import numbers
from stages.report.table import Row, choice

GREY = "#4d4d4d"
POLICIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#882255", "#999933")
MARKERS = "osD^vPX*"
DIRT = ("#cc6677", "#332288", "#88ccee", "#ddcc77", "#117733", "#44aa99", "#aa4499", "#999933")
SPENT = {"curate": "#ddc9a3", "reference": "#b8a9c9", "score": "#7fb3d5", "train": "#34495e"}
INK, SOFT, FAINT = "#222222", "#777777", "#c8c8c8"
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11,
    "axes.edgecolor": "#888888",
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e9e9e9",
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 170,
}
ROOM = 1.42  # the width of an axis that has labels right of its points, over that of the points


@dataclass(frozen=True)
class Look:
    """Which colour a policy has, and which marker a method."""

    colours: dict[str, str]
    markers: dict[str, str]

    @classmethod
    def of(cls, table: Sequence[Row]) -> "Look":
        policies = list(dict.fromkeys(choice(row) for row in table))
        others = [policy for policy in policies if policy != "uniform"]
        colours = {"uniform": GREY} | {policy: POLICIES[i % len(POLICIES)] for i, policy in enumerate(others)}
        methods = dict.fromkeys(row["method"] for row in table)
        return cls(colours, {method: MARKERS[i % len(MARKERS)] for i, method in enumerate(methods)})


@dataclass(frozen=True)
class Label:
    """A text right of the point (x, y)."""

    x: float
    y: float
    text: str
    colour: str
    weight: str = "bold"


def spent_colours(table: Sequence[Row]) -> dict[str, str]:
    """The purposes that FLOPs went to, and their colours; curation only where somebody paid for it."""
    return {part: colour for part, colour in SPENT.items() if part != "curate" or any(row["flops"][part] for row in table)}


def dirt_colours(kinds: Sequence[str]) -> dict[str, str]:
    """The colour of each kind of dirt, the same in bars and frames."""
    return {kind: DIRT[i % len(DIRT)] for i, kind in enumerate(kinds)}


def percent_axis(axes: Axes, vertical: bool = True) -> None:
    """Ticks of shares as percentages."""
    (axes.yaxis if vertical else axes.xaxis).set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.3g} %"))


def flops_axis(axes: Axes, most: float, title: str, room: float = ROOM) -> None:
    """From 0 to `most` FLOPs, with an SI prefix, and room beyond for labels; the word FLOPs of the title gets the prefix."""
    cost_axis(axes, most, room)
    factor, prefix = numbers.scale(most)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / factor:g}"))
    axes.set_xlabel(title.replace("FLOPs", f"{prefix}FLOPs", 1))


def cost_axis(axes: Axes, most: float, room: float = ROOM) -> None:
    """From 0 to `most` and room beyond it, without ticks there."""
    axes.set_xlim(0, most * room)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= most * 1.01])
    axes.set_xlim(0, most * room)


def label(axes: Axes, labels: Sequence[Label], size: float = 10) -> None:
    """Write the labels, moved up or down so that no two overlap; call it when the limits of the axes are set."""
    if not labels:
        return
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.canvas.draw()  # the height in pixels is known only after the layout
    bottom, top = axes.get_ylim()
    gap = (top - bottom) * 1.35 * size / 72 / (axes.get_window_extent().height / figure.dpi)
    right = axes.get_xlim()[1]
    for item, height in zip(labels, spread([item.y for item in labels], gap), strict=True):
        leader = {"arrowstyle": "-", "color": FAINT, "lw": 0.8} if abs(height - item.y) > 0.4 * gap else None
        place = (item.x + 0.03 * right, height)
        text = axes.annotate(item.text, (item.x, item.y), place, va="center", fontsize=size, color=item.colour, arrowprops=leader)
        text.set_fontweight(item.weight)


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Values moved as little as possible until neighbours are `gap` apart, in the same order; runs that touch keep their mean."""
    runs: list[tuple[list[int], float]] = []  # members, lowest first, and their middle
    for place in sorted(range(len(values)), key=lambda i: (values[i], i)):
        members, middle = [place], values[place]
        while runs and middle - (len(members) - 1) * gap / 2 < runs[-1][1] + (len(runs[-1][0]) - 1) * gap / 2 + gap:
            members = [*runs.pop()[0], *members]
            middle = sum(values[i] for i in members) / len(members)
        runs.append((members, middle))
    out = [0.0] * len(values)
    for members, middle in runs:
        for place, member in enumerate(members):
            out[member] = middle + (place - (len(members) - 1) / 2) * gap
    return out
