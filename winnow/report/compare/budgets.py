"""What arms were allowed to spend, in words: FLOPs, or a mapping of units to amounts."""

from collections.abc import Sequence

from winnow.config.budget import Budget, reproducible
from winnow.report.compare.columns import Row
from winnow.report.page import numbers

WORDS = {"flops": numbers.flops, "seconds": numbers.seconds, "kwh": numbers.energy, "gco2e": numbers.grams}


def allowance(row: Row) -> float:
    """A number that orders the budgets of one experiment, which are all in the same units."""
    budget = row["budget"]
    return float(next(iter(budget.values())) if isinstance(budget, dict) else budget)


def in_words(budget: Budget) -> str:
    """`4.00 TFLOPs`, `60 s or 1.00 Wh`: what is spent first ends the run."""
    by_unit = budget if isinstance(budget, dict) else {"flops": budget}
    found = [WORDS[unit](amount) + (" CO2e" if unit == "gco2e" else "") for unit, amount in by_unit.items()]
    return " or ".join(found)


def spending(table: Sequence[Row]) -> str | None:
    """What is said of arms that time or energy stopped; None of others."""
    timed = [row for row in table if not row.get("frozen") and not reproducible(row["budget"])]
    if not timed:
        return None
    most = max(timed, key=allowance)
    spent = [row["flops"]["total"] for row in timed]
    same = "Every arm had" if len({allowance(row) for row in timed}) == 1 else "The arms had up to"
    return (
        f"{same} {in_words(most['budget'])} for its own pretraining, with the shares of what was made before "
        f"converted at its own rate, and spent {numbers.flops(min(spent))} to {numbers.flops(max(spent))}. "
        "Time and energy differ from run to run, so these figures cannot be reproduced to the byte."
    )
