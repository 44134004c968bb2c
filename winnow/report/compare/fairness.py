"""What must be said of a comparison before its numbers: arms that had another budget, arms that did not spend
theirs, and how far two runs of one choice are apart by chance.

The rules: an arm whose budget is another than the largest of its method and backbone is named and compared
with none (it made weights that others start from). Where two arms with the same budget spent unlike FLOPs,
the sentence that compares them says so. Arms that were measured on other test images are an error
(intervals.outcomes_of), and so is an arm that was not measured at all.
"""

from collections.abc import Iterable, Sequence

from winnow.report.compare.columns import Row, main_column
from winnow.report.compare.groups import Group
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.table import backbone_of, is_control, trained
from winnow.report.page import numbers

TOLERANCE = 0.02  # each arm spends its budget within 1 %


def equal(table: Iterable[Row], tolerance: float = TOLERANCE) -> bool:
    """Whether the arms that trained spent the same FLOPs: each within 1 % of the budget, so within 2 % of
    each other.
    """
    totals = [row["flops"]["total"] for row in trained(table)]
    return not totals or max(totals) - min(totals) <= tolerance * max(totals)


def other_budgets(table: Sequence[Row]) -> list[str]:
    """A sentence that names the arms which the verdict leaves out, if any."""
    moved = [row for row in table if not row.get("frozen")]
    most: dict[tuple[str, str], float] = {}
    for row in moved:
        family = row["method"], backbone_of(row)
        most[family] = max(most.get(family, 0.0), row["budget"])
    less = [row for row in moved if row["budget"] < most[row["method"], backbone_of(row)]]
    if not less:
        return []
    named = ", ".join(f"{row['arm']} ({numbers.flops(row['budget'])})" for row in less)
    return [f"Compared with no other arm, for their budget is a smaller one: {named}."]


def unequal(one: Row, other: Row) -> str:
    """What is said behind a comparison of two arms that spent unlike FLOPs; nothing where they did not."""
    if equal([one, other]):
        return ""
    spent = " against ".join(numbers.flops(row["flops"]["total"]) for row in (one, other))
    return f" They spent unlike FLOPs, {spent}, so this compares no policies at equal cost."


def noise(groups: Sequence[Group], intervals: Intervals) -> str:
    """How far two seeds of one control are apart by linear top-1, or that nothing tells it."""
    column = main_column([group.row for group in groups])
    controls = [group for group in groups if is_control(group.row)]
    found = [intervals.noise(group.name, column) for group in controls] if column else []
    known = [value for value in found if value is not None]
    if known:
        return f"Two seeds of one control are up to {numbers.points(max(known))} apart."
    if not controls or column is None:
        return ""
    return (
        "No control was run twice, so how far two runs of one choice are apart by chance is not known from "
        "here; `winnow compose seeds=3` runs every arm three times."
    )
