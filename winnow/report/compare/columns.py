"""The metrics of a comparison as columns: those of each task set, and the means where there are several."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]  # of table.json

MAIN = "linear_probe.top1"  # what arms are ranked by
MEAN = "mean of sets"
# The metrics with a column of their own, and its heading; the report lists the others below the table.
HEADLINES = (
    (r"retrieval\.i2t_r1", "image to text R@1"),
    (r"retrieval\.t2i_r1", "text to image R@1"),
    (r"zero_shot\.top1", "zero-shot"),
    (r"linear_probe\.top1", "linear top-1"),
    (r"semi_supervised\.top1_([\d.]+)pct", r"\1 % labels"),
    (r"segmentation\.linear_miou", "linear mIoU"),
    (r"segmentation\.finetune_miou", "finetuned mIoU"),
    (r"detection\.(?:box|bbox)_?ap_?50", "box AP50"),
    (r"robustness\.mean_top1", "corrupted top-1"),
)


@dataclass(frozen=True)
class Column:
    """A metric, TASK.METRIC, on one of `sets`, or its mean over several."""

    sets: tuple[str, ...]
    metric: str
    title: str

    @property
    def group(self) -> str:
        """What stands above the title where there are several sets."""
        return self.sets[0] if len(self.sets) == 1 else MEAN

    @property
    def name(self) -> str:
        """In one line."""
        return f"{self.group}: {self.title}"

    def value(self, row: Row) -> float | None:
        """None where the arm was not measured so on every set."""
        values = [row["tasks"].get(one, {}).get(self.metric) for one in self.sets]
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if len(known) == len(values) else None


def sets_of(table: Iterable[Row]) -> list[str]:
    """The task sets of a table, in its order."""
    return list(dict.fromkeys(name for row in table for name in row["tasks"]))


def headlines(table: Iterable[Row]) -> list[Column]:
    """The metrics with a column of their own: those of each set in the order of `HEADLINES`, then the means
    of what several sets have.
    """
    table = list(table)
    found = [one for name in sets_of(table) for one in _of_set(table, name)]
    means = []
    for metric, title in dict.fromkeys((one.metric, one.title) for one in found):
        sets = tuple(one.sets[0] for one in found if one.metric == metric)
        if len(sets) > 1:
            means.append(Column(sets, metric, title))
    return found + means


def main_column(table: Iterable[Row]) -> Column | None:
    """What arms are ranked by: linear top-1, the mean over the sets that have it; None where none has."""
    sets = [one for one in headlines(table) if one.metric == MAIN]
    return sets[-1] if sets else None


def others(table: Iterable[Row]) -> list[Column]:
    """The metrics of each set without a column of their own."""
    table = list(table)
    shown = {(one.group, one.metric) for one in headlines(table)}
    return [
        Column((name,), metric, metric)
        for name in sets_of(table)
        for metric in sorted({key for row in table for key in row["tasks"].get(name, {})}, key=natural)
        if (name, metric) not in shown
    ]


def _of_set(table: list[Row], name: str) -> list[Column]:
    keys = sorted({key for row in table for key in row["tasks"].get(name, {})}, key=natural)
    return [
        Column((name,), key, re.sub(pattern, heading, key, flags=re.I))
        for pattern, heading in HEADLINES
        for key in keys
        if re.fullmatch(pattern, key, flags=re.I)
    ]


def natural(key: str) -> tuple[str, float, str]:
    """Sorts keys such as top1_1pct and top1_10pct by their last number."""
    found = re.search(r"([\d.]+)\D*$", key)
    return (key[: found.start()], float(found.group(1).strip(".") or 0), key) if found else (key, 0.0, key)
