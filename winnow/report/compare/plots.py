"""The report's pictures, in PNG bytes that depend on nothing but the numbers."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from winnow.evaluation.curve import Row as Reading
from winnow.report.compare.axes import STYLE
from winnow.report.compare.balance import Balance
from winnow.report.compare.bars import class_balance, corruption_shares, spending
from winnow.report.compare.columns import Row, main_column
from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.courses import corruption_over_training, training_curves
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.look import Look
from winnow.report.compare.scatter import accuracy
from winnow.report.compare.views import EXAMPLES, FLOPS, SECONDS, VIEWS, View

VIEW_PICTURES = {FLOPS.key: "curves", SECONDS.key: "curves_seconds", EXAMPLES.key: "curves_examples"}


def draw(
    folder: Path,
    table: list[Row],
    curves: Mapping[str, list[Reading]],
    corruption: CorruptionShares,
    balance: Balance,
    intervals: Intervals | None = None,
    seeds: Mapping[str, list[list[Reading]]] | None = None,
) -> dict[str, Path]:
    """Write every picture that the numbers allow into a folder; name -> file.

    Args:
        seeds: the curves of every seed, of the arms with several.
    """
    if not table:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "none.txt").write_text("No arms, so no pictures.\n")  # DVC requires the folder
        return {}
    look, moved = Look.of(table), [row for row in table if not row.get("frozen")]
    pictures: dict[str, Callable[[], Figure]] = {
        **{name: partial(training_curves, table, curves, look, view, seeds) for name, view in _views(curves)},
        "spending": lambda: spending(table),
    }
    if column := main_column(table):
        pictures["accuracy_flops"] = lambda: accuracy(table, look, column, "flops", intervals)
        if any(row["gco2e"] is not None for row in table):
            pictures["accuracy_gco2e"] = lambda: accuracy(table, look, column, "gco2e", intervals)
    if corruption.kinds and moved:
        pictures["corruption_shares"] = lambda: corruption_shares(moved, corruption)
        pictures["corruption_over_training"] = lambda: corruption_over_training(moved, corruption, look)
    if len(balance.names) > 1 and moved:
        pictures["class_balance"] = lambda: class_balance(moved, balance)
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(STYLE):
        return {name: _save(make(), folder / f"{name}.png") for name, make in pictures.items()}


def _views(curves: Mapping[str, list[Reading]]) -> list[tuple[str, View]]:
    """The views that the readings allow, and the name of each one's picture."""
    moved = [one for readings in curves.values() for one in readings if one["step"]]
    allowed = [view for view in VIEWS if view is FLOPS or any(view.key in one for one in moved)]
    return [(VIEW_PICTURES[view.key], view) for view in allowed]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, metadata={"Software": None})
    plt.close(figure)
    return path
