"""The views of a course of training: accuracy against FLOPs, against seconds, against examples seen.

The clock is not read at each reading. A reading's seconds are what the arm had spent before its first step
(its shares of version, reference and weights) and its pretraining's seconds in proportion to its steps, so
the readings and the start of the process are spread over all steps.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from winnow.evaluation.curve import Row as Reading
from winnow.report.page import numbers

ACCURACY = "val_top1"
READ = "kNN top-1 on val"


@dataclass(frozen=True)
class View:
    """`key` is the column of a reading, `name` what the view is equal in, `title` that of its axis."""

    key: str
    name: str
    title: str
    caption: str

    def amount(self, value: float) -> str:
        """A value on the axis, as people read it."""
        if self.key == "flops":
            return numbers.flops(value)
        return numbers.seconds(value) if self.key == "seconds" else f"{value:,.0f} examples"


FLOPS = View(
    "flops",
    "FLOPs",
    "FLOPs spent, reference and scoring included",
    "A curve begins at the arm's first reading, which comes later where the arm pays for a reference or for "
    "scoring; the bars at the foot show what was paid before the first step.",
)
SECONDS = View(
    "seconds",
    "seconds",
    "seconds spent, reference and scoring included",
    "Equal FLOPs are not equal seconds: scoring and training use a machine to different degrees. The seconds "
    "of a reading are those before the arm's first step, and those of its training in proportion to its "
    "steps; they hold for this machine and what else ran on it.",
)
EXAMPLES = View(
    "examples_seen",
    "examples",
    "examples trained on",
    "What each example that was trained on was worth, whatever choosing it cost. This view is blind to the "
    "cost of references and of scoring: no saving can be read from it.",
)
VIEWS = (FLOPS, SECONDS, EXAMPLES)


def with_seconds(readings: Sequence[Reading], total: float | None, own: float) -> list[Reading]:
    """The readings with `seconds`; as they are where the total is unknown.

    Args:
        total: seconds that the arm was charged, shares of what was made before it included.
        own: those of its pretraining alone.
    """
    steps = readings[-1]["step"] if readings else 0.0
    if total is None or not steps:
        return [dict(one) for one in readings]
    return [{**one, "seconds": total - own + own * one["step"] / steps} for one in readings]


def write_curves(path: Path, curves: Mapping[str, Sequence[Reading]]) -> None:
    """All readings as one CSV with a column `arm`, for `dvc plots` and spreadsheets; blank where unknown."""
    first = ["step", *(view.key for view in VIEWS), ACCURACY]
    keys = list(dict.fromkeys([*first, *(key for some in curves.values() for one in some for key in one)]))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, ["arm", *keys], lineterminator="\n")
        table.writeheader()
        table.writerows({"arm": arm, **one} for arm, readings in curves.items() for one in readings)


def reached_by_all(curves: Iterable[Sequence[Reading]], key: str) -> float | None:
    """The largest value of `key` that every curve reaches; None where one does not have it."""
    ends = [readings[-1].get(key) if readings else None for readings in curves]
    known = [end for end in ends if end is not None]
    return min(known) if known and len(known) == len(ends) else None


def value_at(readings: Sequence[Reading], key: str, at: float, value: str = ACCURACY) -> float | None:
    """The reading at `at`, linear between two readings; None before the first one and after the last one."""
    places = [one[key] for one in readings]
    if not places or not places[0] <= at <= places[-1]:
        return None
    return float(np.interp(at, places, [one[value] for one in readings]))
