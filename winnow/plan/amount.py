"""Numbers of which, before anything runs, only a bound may be known."""

from dataclasses import dataclass

EXACT, MOST, LEAST, EITHER = "", "≤", "≥", "~"


@dataclass(frozen=True)
class Amount:
    """A count of images or FLOPs. `sign` says whether the true one is `value`, at most or at least that, or
    neither, where bounds of both kinds went into it.
    """

    value: int
    sign: str = EXACT

    def __add__(self, other: "Amount | int") -> "Amount":
        other = other if isinstance(other, Amount) else Amount(other)
        return Amount(self.value + other.value, _joined(self.sign, other.sign))

    def __mul__(self, factor: float) -> "Amount":
        """Times a factor of 0 or more, rounded down."""
        return Amount(int(self.value * factor), self.sign if factor else EXACT)

    @property
    def unknown(self) -> bool:
        """Whether nothing is known of it."""
        return self == UNKNOWN

    @property
    def opposite(self) -> str:
        """The sign of what is left when this is taken away."""
        return {MOST: LEAST, LEAST: MOST}.get(self.sign, self.sign)


NONE, UNKNOWN = Amount(0), Amount(0, LEAST)


def total(amounts: list[Amount]) -> Amount:
    """The sum; 0 of no amounts."""
    return sum(amounts, start=NONE)


def at_most(amount: Amount) -> Amount:
    """The same as an upper bound, unless nothing is known."""
    return amount if amount.unknown else Amount(amount.value, _joined(amount.sign, MOST))


def _joined(one: str, other: str) -> str:
    return one if other in (EXACT, one) else other if one == EXACT else EITHER
