"""Numbers as people read them: three significant digits, a unit, and `unknown` where nothing was measured."""

import math
from typing import Protocol

PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
UNKNOWN = "unknown"


class Interval(Protocol):
    """Its bounds, nan where they are unknown."""

    @property
    def low(self) -> float: ...

    @property
    def high(self) -> float: ...


def digits(value: float) -> str:
    """Three significant digits without an exponent, trailing zeros kept: 10.0, 0.174, 1230."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = int(f"{value:.2e}".split("e")[1])  # of the rounded value, so that 9.999 is 10.0
    return f"{value:.{max(0, 2 - exponent)}f}"


def flops(value: float | None) -> str:
    """FLOPs with an SI prefix: 9.98 TFLOPs."""
    if value is None:
        return UNKNOWN
    factor, prefix = scale(value)
    return f"{digits(value / factor)} {prefix}FLOPs"


def scale(value: float) -> tuple[float, str]:
    """The largest SI factor that the value, rounded to three digits, reaches; and its prefix."""
    return next(((factor, prefix) for factor, prefix in PREFIXES if abs(value) >= 0.9995 * factor), (1.0, ""))


def percent(share: float | None) -> str:
    """A share of one as a percentage with one decimal; an en dash where there is none."""
    return "–" if share is None else f"{100 * share:.1f} %"


def points(difference: float) -> str:
    """A difference of two shares, in percentage points without a sign."""
    return f"{100 * abs(difference):.1f} points"


def interval(found: Interval) -> str:
    """The 95 % interval of a difference of two shares, in percentage points: -0.3 to 1.2."""
    return _range(found.low, found.high)


def _range(low: float, high: float) -> str:
    return " to ".join(f"{100 * value:.1f}".replace("-", "\u2212") for value in (low, high))


def gap(mean: float, found: Interval) -> str:
    """A difference of two shares in words, with its interval: 1.4 points less (0.6 to 2.2)."""
    low, high = (found.low, found.high) if mean > 0 else (-found.high, -found.low)
    return f"{points(mean)} {'more' if mean > 0 else 'less'} ({_range(low, high)})"


def margin(found: Interval | None) -> str:
    """Half the width of the 95 % interval of a share, in percentage points: ± 0.7; nothing where unknown."""
    return "" if found is None or math.isnan(found.low) else f"± {50 * (found.high - found.low):.1f}"


def percent_of(share: float | None, found: Interval | None) -> str:
    """A share as a percentage, with its margin: 85.3 ± 0.7 %."""
    plain, margins = percent(share), margin(found)
    return f"{plain.removesuffix(' %')} {margins} %" if margins else plain


def signed(difference: float) -> str:
    """A difference of two shares, in percentage points: +1.4."""
    return f"{100 * difference:+.1f}".replace("-", "\u2212")


def grams(value: float | None) -> str:
    """Grams of CO2e; milligrams below a tenth of a gram, kilograms from 1,000 g."""
    if value is None:
        return UNKNOWN
    if value >= 1000:
        return f"{digits(value / 1000)} kg"
    return f"{digits(value)} g" if value >= 0.1 else f"{digits(1000 * value)} mg"


def energy(kwh: float | None) -> str:
    """Energy in Wh, or kWh from 1,000 Wh."""
    if kwh is None:
        return UNKNOWN
    return f"{digits(kwh)} kWh" if kwh >= 1 else f"{digits(1000 * kwh)} Wh"


def seconds(value: float | None) -> str:
    """Wall clock: 58 s, 3 min 20 s, 2 h 05 min."""
    if value is None:
        return UNKNOWN
    whole = round(value)
    if whole < 120:
        return f"{whole} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {whole % 60:02d} s"


def thousands(value: float | None) -> str:
    """A count with separators."""
    return UNKNOWN if value is None else f"{value:,.0f}"
