"""What the axes of the report's pictures share: units, room for labels, and labels that do not overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from winnow.report.compare.look import FAINT, INK
from winnow.report.page import numbers

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
EARLY = 0.97  # of the last point: one that lies before is led on to its name by a dotted line
ROOM = 1.42  # the width of an axis that has labels right of its points, over that of the points


@dataclass(frozen=True)
class Label:
    """A text right of the point (x, y)."""

    x: float
    y: float
    text: str
    colour: str
    weight: str = "bold"


def percent_axis(axes: Axes, vertical: bool = True) -> None:
    """Ticks of shares as percentages."""
    axis = axes.yaxis if vertical else axes.xaxis
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{100 * v:.3g} %"))


def flops_axis(axes: Axes, most: float, title: str, room: float = ROOM) -> None:
    """From 0 to `most` FLOPs, and room beyond for labels; an SI prefix is put before FLOPs in the title."""
    cost_axis(axes, most, room)
    factor, prefix = numbers.scale(most)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v / factor:g}"))
    axes.set_xlabel(title.replace("FLOPs", f"{prefix}FLOPs", 1))


def cost_axis(axes: Axes, most: float, room: float = ROOM) -> None:
    """From 0 to `most`, and room beyond it without ticks."""
    most = most or 1.0
    axes.set_xlim(0, most * room)
    axes.set_xticks([tick for tick in axes.get_xticks() if 0 <= tick <= most * 1.01])
    axes.set_xlim(0, most * room)


def label(axes: Axes, labels: Sequence[Label], size: float = 10) -> None:
    """Write the labels, moved up or down so that no two overlap; the limits of the axes must be final."""
    if not labels:
        return
    figure = axes.get_figure()
    assert isinstance(figure, Figure)
    figure.canvas.draw()  # the height in pixels is known after the layout only
    bottom, top = axes.get_ylim()
    gap = (top - bottom) * 1.35 * size / 72 / (axes.get_window_extent().height / figure.dpi)
    right = axes.get_xlim()[1]
    for item, height in zip(labels, spread([item.y for item in labels], gap), strict=True):
        leader = {"arrowstyle": "-", "color": FAINT, "lw": 0.8} if abs(height - item.y) > 0.4 * gap else None
        look: dict[str, Any] = {"color": item.colour, "weight": item.weight, "size": size, "va": "center"}
        place = item.x + 0.03 * right, height
        axes.annotate(item.text, (item.x, item.y), place, arrowprops=leader, **look)


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Values moved as little as possible until neighbours are `gap` apart, in the same order.

    Those that would touch are spread evenly around their mean.
    """
    runs: list[tuple[list[int], float]] = []  # members, lowest first, and their middle
    for place in sorted(range(len(values)), key=lambda i: (values[i], i)):
        members, middle = [place], values[place]
        while runs and middle - runs[-1][1] < gap * (len(members) + len(runs[-1][0])) / 2:
            members = [*runs.pop()[0], *members]
            middle = sum(values[i] for i in members) / len(members)
        runs.append((members, middle))
    out = [0.0] * len(values)
    for members, middle in runs:
        for place, member in enumerate(members):
            out[member] = middle + (place - (len(members) - 1) / 2) * gap
    return out
