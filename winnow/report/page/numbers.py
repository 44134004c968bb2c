"""Numbers as people read them: three significant digits, a unit, and `unknown` where nothing was measured."""

import math

PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
UNKNOWN = "unknown"


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
