"""Was training on worth it? Arms that start from weights, beside the same weights frozen and untouched."""

from winnow.report.compare.columns import Column, Row
from winnow.report.compare.groups import Group
from winnow.report.compare.intervals import Intervals
from winnow.report.page import numbers


def worth(groups: list[Group], column: Column, intervals: Intervals, where: str = "") -> list[str]:
    """A sentence for each group of arms that trained on from weights and was measured so.

    Args:
        column: linear top-1 on a task set.
        where: names the set, where there are several.
    """
    table = [group.row for group in groups]
    started = [row for row in table if "weights" in row and not row.get("frozen")]
    measured = [row for row in started if column.value(row) is not None]
    return [_sentence(row, _untouched(row, table, column), column, intervals, where) for row in measured]


def unknown_start(table: list[Row]) -> list[str]:
    """A sentence for the arms whose weights came from elsewhere, if any."""
    arms = sorted({row["arm"] for row in table if not known(row)})
    if not arms:
        return []
    return [f"What the weights of {', '.join(arms)} cost before is unknown, and in none of these numbers."]


def known(row: Row) -> bool:
    """Whether all FLOPs that went into an arm's encoder are known."""
    return "weights" not in row or row["weights"]["flops"] != numbers.UNKNOWN


def _untouched(row: Row, table: list[Row], column: Column) -> Row | None:
    """The frozen arm with the same weights."""
    frozen = [one for one in table if one.get("frozen") and "weights" in one]
    same = [one for one in frozen if one["weights"]["path"] == row["weights"]["path"]]
    return next((one for one in same if column.value(one) is not None), None)


def _sentence(row: Row, control: Row | None, column: Column, intervals: Intervals, where: str) -> str:
    arm, spent = row["arm"], row["flops"]["score"] + row["flops"]["train"]
    if control is None:
        lacks = f"No frozen arm has the weights of {arm}"
        return f"{lacks}, so whether training on was worth it is unknown{where}."
    found = intervals.difference(arm, control["arm"], column)
    assert found is not None  # both were measured
    ours, theirs = (numbers.percent(column.value(one)) for one in (row, control))
    untouched = f"{theirs} for the same weights untouched ({control['arm']})"
    against = f"{ours} linear-probe top-1{where} against {untouched}"
    if not found.known:
        gave = f"Training {arm} on for {numbers.flops(spent)} gave {against}"
        return f"{gave}; nothing tells how far chance reaches."
    by, cost = numbers.gap(found.mean, found), f"for {numbers.flops(spent)}"
    if found.low <= 0 <= found.high:
        return f"Training {arm} on made no distinguishable difference: {against}, {by}, {cost}."
    outcome = "was worth it" if found.low > 0 else "made it worse"
    return f"Training {arm} on {outcome}: {against}, {by}, {cost}."
