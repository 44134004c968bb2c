"""Was training on worth it? Arms that start from weights, beside the same weights frozen and untouched."""

import math

from winnow.report.compare.columns import Column, Row
from winnow.report.page import numbers


def worth(table: list[Row], column: Column, tested: int, where: str = "") -> list[str]:
    """A sentence for each arm that trained on from weights and was measured so.

    Args:
        column: linear top-1 on a task set.
        tested: the number of the set's test images.
        where: names the set, where there are several.
    """
    started = [row for row in table if "weights" in row and not row.get("frozen")]
    measured = [row for row in started if column.value(row) is not None]
    return [_sentence(row, _untouched(row, table, column), column, tested, where) for row in measured]


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


def _sentence(row: Row, control: Row | None, column: Column, tested: int, where: str) -> str:
    arm, spent = row["arm"], row["flops"]["score"] + row["flops"]["train"]
    if control is None:
        lacks = f"No frozen arm has the weights of {arm}"
        return f"{lacks}, so whether training on was worth it is unknown{where}."
    ours, theirs = (column.value(one) or 0.0 for one in (row, control))
    gain, noise = ours - theirs, 2 * math.sqrt(max(ours * (1 - ours), 0.0) * 2 / tested)
    against = (
        f"{numbers.percent(ours)} linear-probe top-1{where} against {numbers.percent(theirs)} for the same "
        f"weights untouched ({control['arm']})"
    )
    if abs(gain) <= noise:
        return (
            f"Training {arm} on made no clear difference: {against}, and less than "
            f"{numbers.points(noise)} is noise; it took {numbers.flops(spent)}."
        )
    outcome = "was worth it" if gain > 0 else "made it worse"
    difference = f"{numbers.points(gain)} {'more' if gain > 0 else 'less'} for {numbers.flops(spent)}"
    return f"Training {arm} on {outcome}: {against}, {difference}."
