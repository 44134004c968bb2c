"""What an arm may spend: FLOPs, or a mapping of units to amounts, the first of which to be spent stops it."""

from typing import Any

from winnow.config.bounds import Range, known
from winnow.config.errors import ParamsError

FLOPS = "flops"
UNITS = (FLOPS, "seconds", "kwh", "gco2e")
ENERGY = ("kwh", "gco2e")  # which need a meter
POSITIVE = Range(0.0, open_low=True)
# What is said wherever such a budget is shown.
NOT_REPRODUCIBLE = "pretrain.budget: time or energy ends a run, so no two runs give the same bytes"

Budget = float | dict[str, float]


def as_numbers(value: Any) -> Any:
    """A budget with its numbers as floats, as YAML's `4e12`, which is text to it; all else as it is."""
    if isinstance(value, dict):
        return {str(unit): as_numbers(amount) for unit, amount in value.items()}
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


def check_budget(key: str, value: Any) -> None:
    """Raise `ParamsError` unless it is a positive number, or a mapping of units to such."""
    if isinstance(value, dict):
        if not value:
            raise ParamsError(f"{key}: an empty mapping; give one or more of {', '.join(UNITS)}")
        for unit, amount in value.items():
            known(key, unit, UNITS)
            check_budget(f"{key}.{unit}", None if isinstance(amount, dict) else amount)
    elif isinstance(value, bool) or not isinstance(value, float):
        allowed = f"FLOPs, or a mapping of {', '.join(UNITS)}"
        raise ParamsError(f"{key}: {value!r} is no number; allowed: {allowed}")
    else:
        POSITIVE(key, value)


def limits(budget: Budget, share: float = 1.0) -> dict[str, float]:
    """Unit -> amount; a plain number is FLOPs."""
    by_unit = budget if isinstance(budget, dict) else {FLOPS: budget}
    return {unit: amount * share for unit, amount in by_unit.items()}


def reproducible(budget: Budget) -> bool:
    """Whether the number of steps follows from params alone: not where time or energy ends a run."""
    return not isinstance(budget, dict) or set(budget) == {FLOPS}
