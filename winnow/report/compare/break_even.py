"""What a point of accuracy cost, and when a one-off cost pays for itself.

A point is one percentage point of linear-probe top-1 above the floor, the random encoder of the same
backbone: what an encoder is worth untrained nobody has to pay for.

Break-even is against the best control, by the readings during training (kNN top-1 on val), because only these
say what was reached for how much. What is paid once (the reference, the version, the weights) is taken whole,
whatever share of it the arm was charged. Between two readings the line is straight; before the first nothing
is known, so an accuracy that it has reached already counts as reached there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from winnow.config.schema import Pretrain
from winnow.evaluation.curve import Row as Reading
from winnow.report.compare.columns import Column, Row, main_column
from winnow.report.compare.groups import Group
from winnow.report.compare.table import FLOOR, backbone_of, choice, ranked
from winnow.report.compare.verdict import families
from winnow.report.page import numbers

ONCE = {"curate": "curation_share", "reference": "reference_share", "weights": "weights_share"}
Line = Sequence[tuple[float, float]]  # (FLOPs, accuracy), FLOPs rising


@dataclass(frozen=True)
class Price:
    """What an arm paid for a point above the floor; None where it is not above, or its energy is no
    counter's.
    """

    arm: str
    points: float
    flops: float | None
    grams: float | None

    @property
    def text(self) -> str:
        """Of the FLOPs."""
        return "not above the floor" if self.flops is None else numbers.flops(self.flops)


@dataclass(frozen=True)
class BreakEven:
    """When an arm has paid for what it costs once: over several runs, and within a single one."""

    arm: str
    control: str
    once: float | None
    over_runs: str
    in_one_run: str


@dataclass(frozen=True)
class Worth:
    """Both, for all arms of a comparison that have them."""

    prices: list[Price]
    break_even: list[BreakEven]

    @property
    def markdown(self) -> str:
        """Two small tables; empty where there is nothing to say."""
        text = ""
        if self.prices:
            counted = any(one.grams is not None for one in self.prices)
            head = ["arm", "points above the floor", "FLOPs per point", "CO2e per point"]
            lines = [
                [one.arm, numbers.signed(one.points / 100), one.text, numbers.grams(one.grams)]
                for one in self.prices
            ]
            if not counted:
                head, lines = head[:-1], [line[:-1] for line in lines]
            text += _table(head, lines)
        if self.break_even:
            head = ["arm", "best control", "paid once", "pays for itself", "in a single run"]
            text += _table(
                head,
                [
                    [one.arm, one.control, numbers.flops(one.once), one.over_runs, one.in_one_run]
                    for one in self.break_even
                ],
            )
        return text


def worth_of(groups: Sequence[Group], curves: Mapping[str, Sequence[Reading]], shares: Pretrain) -> Worth:
    """The prices of all groups that trained, and the break-even of all policies.

    Args:
        curves: of each group, with `flops` as charged, and `val_top1`.
        shares: what the arms were charged of what is paid once.
    """
    column = main_column(group.row for group in groups)
    if column is None:
        return Worth([], [])
    trained = ranked(group.row for group in groups if not group.row.get("frozen"))
    found = [_price(row, groups, column) for row in trained]
    even = [
        _break_even(group, family.controls[0], curves, shares)
        for family in families(groups, column)
        if family.controls
        for group in family.policies
    ]
    return Worth([one for one in found if one], [one for one in even if one])


def price(row: Row, accuracy: float, floor: float) -> Price:
    """Of a row with such an accuracy, both shares of one."""
    points, counted = 100 * (accuracy - floor), row["energy_quality"] == "counter"
    if points <= 0:
        return Price(row["arm"], points, None, None)
    grams = row["gco2e"] / points if counted and row["gco2e"] is not None else None
    return Price(row["arm"], points, row["flops"]["total"] / points, grams)


def reached(line: Line, accuracy: float) -> float | None:
    """The FLOPs at which a line first reaches an accuracy; None if it never does."""
    before: tuple[float, float] | None = None
    for spent, value in line:
        if value >= accuracy:
            if before is None:
                return spent
            share = (accuracy - before[1]) / (value - before[1])
            return before[0] + share * (spent - before[0])
        before = (spent, value)
    return None


def runs_to_pay(once: float, ours: Line, theirs: Line) -> tuple[float, float] | None:
    """After how many runs what is paid once is saved, and what one run saves; None if it never is.

    Each run is to reach what the control ends at; the lines are without what is paid once.
    """
    target = theirs[-1][1]
    mine, its = reached(ours, target), reached(theirs, target)
    if mine is None or its is None or mine >= its:
        return None
    return max(1, math.ceil(once / (its - mine))), its - mine


def overtakes(ours: Line, theirs: Line) -> float | None:
    """The least FLOPs from which on ours is at least as high, up to the end of the shorter; None if ours ends
    lower.
    """
    first, last = max(ours[0][0], theirs[0][0]), min(ours[-1][0], theirs[-1][0])
    places = sorted({x for x, _ in [*ours, *theirs] if first <= x <= last})
    gaps = [(x, at(ours, x) - at(theirs, x)) for x in places]
    if not gaps or gaps[-1][1] < 0:
        return None
    behind = [i for i, (_, gap) in enumerate(gaps) if gap < 0]
    if not behind:
        return gaps[0][0]
    (x, low), (then, high) = gaps[behind[-1]], gaps[behind[-1] + 1]
    return x + (then - x) * -low / (high - low)


def at(line: Line, spent: float) -> float:
    """The accuracy of a line at so many FLOPs, within its ends."""
    for (x, low), (then, high) in pairwise(line):
        if x <= spent <= then:
            return low + (high - low) * ((spent - x) / (then - x) if then > x else 0.0)
    return line[0][1] if spent <= line[0][0] else line[-1][1]


def _price(row: Row, groups: Sequence[Group], column: Column) -> Price | None:
    """None where the arm, or no random encoder of its backbone, was measured."""
    floors = [group.row for group in groups if choice(group.row) == FLOOR]
    same = [one for one in floors if backbone_of(one) == backbone_of(row)]
    same.sort(key=lambda one: one["method"] != row["method"])
    accuracy, floor = column.value(row), column.value(same[0]) if same else None
    return None if accuracy is None or floor is None else price(row, accuracy, floor)


def _break_even(
    group: Group, control: Group, curves: Mapping[str, Sequence[Reading]], shares: Pretrain
) -> BreakEven | None:
    """None where no readings were taken on a task set."""
    if not all(len(lines := curves[one.name]) and "val_top1" in lines[0] for one in (group, control)):
        return None
    ours, theirs = (_line(one, curves[one.name]) for one in (group, control))
    once, its = (_once(one.row, shares) for one in (group, control))
    if once is None or its is None:
        return BreakEven(group.name, control.name, None, numbers.UNKNOWN, numbers.UNKNOWN)
    target, runs = theirs[-1][1], runs_to_pay(max(0.0, once - its), ours, theirs)
    if runs:
        count, saved = runs
        when = "from the first run" if count == 1 else f"after {count:,} runs"
        over = f"{when}: each reaches {numbers.percent(target)} with {numbers.flops(saved)} less"
    elif max(value for _, value in ours) < target:
        over = f"never within this budget: it does not reach the {numbers.percent(target)} of the control"
    else:
        over = f"never: each run needs as much or more to reach {numbers.percent(target)}"
    whole = [[(x + paid, y) for x, y in line] for line, paid in ((ours, once), (theirs, its))]
    crossing = overtakes(*whole)
    most = min(line[-1][0] for line in whole)
    ahead = f"never within {numbers.flops(most)}"
    if crossing is not None:
        ahead = f"from {numbers.flops(crossing)} on"
    return BreakEven(group.name, control.name, once, over, ahead)


def _line(group: Group, curve: Sequence[Reading]) -> Line:
    """Accuracy against what the runs themselves spent, without what is paid once."""
    charged = sum(group.row["flops"].get(part) or 0 for part in ONCE)
    return [(reading["flops"] - charged, reading["val_top1"]) for reading in curve]


def _once(row: Row, shares: Pretrain) -> float | None:
    """What is paid once, whole; None where a part is unknown, or the arm was charged nothing of it."""
    total = 0.0
    for part, name in ONCE.items():
        charged, share = row["flops"].get(part, 0), getattr(shares, name)
        if charged is None:
            return None
        total += charged / share if share else 0.0
    return total


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Markdown whose columns line up without being rendered, below an empty line."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    rows = [head, ["-" * width for width in widths], *lines]
    padded = ([cell.ljust(width) for cell, width in zip(cells, widths, strict=True)] for cells in rows)
    return "\n" + "".join(f"| {' | '.join(cells)} |\n" for cells in padded)
