"""What a type cannot say about a field: its range, its choices, the plug-ins it may name. Written beside the
field.

    lr: float = bounded(1e-3, above=0)
    precision: str = one_of("32-true", "bf16-mixed")          # the first is the default
    criterion: str = plugin("models.criteria")

`check` walks a dataclass and raises a `ParamsError` for the first value that does not fit. A rule about
several fields of one block is a method `check(self, key)` of its dataclass.
"""

import dataclasses
import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field
from typing import Any

from winnow.config.errors import ParamsError
from winnow.config.plugins import plugins

REQUIRED = "???"  # OmegaConf's mark for a value that must be given
RULE = "rule"


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`; with `above` or `below` the bound itself is excluded."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __call__(self, key: str, value: Any) -> None:
        for number in value if isinstance(value, list | tuple) else [value]:
            fits = math.isfinite(number) and self.low <= number <= self.high
            if not fits or (self.open_low and number == self.low) or (self.open_high and number == self.high):
                raise ParamsError(f"{key}: {value!r} is out of range; allowed: {self}")

    def __str__(self) -> str:
        if self.high == math.inf:
            return f"above {self.low:g}, finite" if self.open_low else f"{self.low:g} or more, finite"
        return f"{'(' if self.open_low else '['}{self.low:g}, {self.high:g}{')' if self.open_high else ']'}"


def bounded(
    default: Any = MISSING,
    low: float | None = None,
    high: float | None = None,
    *,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A number, an optional number or a list of numbers; NaN and infinity never fit."""
    least = above if low is None else low
    most = below if high is None else high
    allowed = Range(
        -math.inf if least is None else least,
        math.inf if most is None else most,
        above is not None,
        below is not None,
    )
    return _field(default, allowed)


def one_of(*choices: Any, default: Any = MISSING) -> Any:
    """One of a few values, by default the first."""
    return _field(
        choices[0] if default is MISSING else default, lambda key, value: known(key, value, choices)
    )


def plugin(package: str, optional: bool = False) -> Any:
    """The name of a plug-in, which is a file of the package; has no default, or null if it is optional."""
    return _field(None if optional else REQUIRED, lambda key, value: known(key, value, plugins(package)))


def known(key: str, value: Any, allowed: Iterable[Any]) -> None:
    """Raise `ParamsError` unless the value is one of the allowed ones, with the nearest of them as a hint."""
    allowed = [str(one) for one in allowed]
    if str(value) not in allowed:
        near = difflib.get_close_matches(str(value), allowed, n=1)
        hint = f"; did you mean {near[0]}? Allowed" if near else "; allowed"
        raise ParamsError(f"{key}: {value!r} is unknown{hint}: {', '.join(allowed) or 'nothing'}")


def check(value: Any, key: str = "") -> None:
    """Check a dataclass and all dataclasses in it, in the order of their fields.

    Args:
        key: where the block stands in params.yaml, for the text of errors.

    Raises:
        ParamsError: naming the first key whose value does not fit.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            check(item, f"{key}.{name}" if key else str(name))
    if not dataclasses.is_dataclass(value):
        return
    for f in dataclasses.fields(value):
        path, own = f"{key}.{f.name}" if key else f.name, getattr(value, f.name)
        if RULE in f.metadata and own is not None:
            f.metadata[RULE](path, own)
        check(own, path)
    if hasattr(value, "check"):
        value.check(key)


def _field(default: Any, rule: Callable[[str, Any], None]) -> Any:
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={RULE: rule})
    if default is MISSING:
        return field(metadata={RULE: rule})
    return field(default=default, metadata={RULE: rule})
