"""How two dataset versions differ: what both hold, what only one does and why the other left it out, and the shift of the classes."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stages.data.pool import Pool
from stages.data.version import Version, load
from stages.report.histograms import Bar, classes

SHOWN = 5
STRANGE = "not in its pool"


@dataclass(frozen=True)
class Difference:
    """Two versions; `only_a` and `only_b` give for each uid that one alone holds the reason of the other."""

    a: Version
    b: Version
    both: int
    only_a: dict[str, str]
    only_b: dict[str, str]

    @classmethod
    def of(cls, first: Path, second: Path) -> "Difference":
        """Open and compare the versions in two folders.

        Raises:
            ValueError: if a folder holds no version.
        """
        a, b = load(first), load(second)
        here, there = set(a.uids), set(b.uids)
        return cls(a, b, len(here & there), _reasons(b, here - there), _reasons(a, there - here))

    @property
    def either(self) -> int:
        return self.both + len(self.only_a) + len(self.only_b)


def compare(first: Path, second: Path, pool: Path) -> list[str]:
    """Lines to print.

    Args:
        first: a version's folder, with uids.npy and, where known, reasons.parquet.
        second: another.
        pool: the folder of the pool whose labels are looked at; a version of another pool shows no classes.

    Raises:
        ValueError: if a folder holds no version.
    """
    found = Difference.of(first, second)
    share = f" ({100 * found.both / found.either:.1f} %)" if found.either else ""
    lines = [f"{side} {folder}: {len(v.uids)} examples" for side, folder, v in (("A", first, found.a), ("B", second, found.b))]
    lines += [f"both hold {found.both} of {found.either}{share}"]
    lines += [_only("A", "B", found.only_a), _only("B", "A", found.only_b)]
    return lines + _shift(found, pool)


def _only(here: str, there: str, reasons: dict[str, str]) -> str:
    """How many only one holds, by the reason for which the other does not."""
    if not reasons:
        return f"only {here}: none"
    why = Counter(reasons.values())
    told = ", ".join(f"{reason} {count}" for reason, count in sorted(why.items(), key=lambda item: (-item[1], item[0])))
    return f"only {here}: {len(reasons)}; why {there} has them not: {told}"


def _reasons(version: Version, uids: set[str]) -> dict[str, str]:
    """uid -> reason, by the version's own reasons; of an image that came several times, the first."""
    found = dict.fromkeys(sorted(uids), STRANGE)
    table = version.reasons
    pairs = zip(table["uid"].to_pylist(), table["reason"].to_pylist(), strict=True)
    found.update({uid: reason for uid, reason in reversed(list(pairs)) if uid in uids and reason})
    return found


def held(pool: Pool, version: Version) -> np.ndarray:
    """(rows,) bool: the rows of the pool that the version holds, of equal images the first.

    Raises:
        ValueError: naming an image that is not in this pool.
    """
    mask = np.zeros(len(pool), bool)
    mask[pool.rows(version.uids)] = True
    return mask


def moved(a: list[Bar], b: list[Bar]) -> list[tuple[str, float, float]]:
    """(name, share in A, share in B) of bars of one pool, those first whose share changed most."""
    pairs = [(one.name, one.after, other.after) for one, other in zip(a, b, strict=True)]
    return sorted(pairs, key=lambda pair: -round(abs(pair[2] - pair[1]), 9))


def _shift(found: Difference, folder: Path) -> list[str]:
    """The classes whose shares differ most; nothing where the pool does not know every example, or has no labels."""
    try:
        pool = Pool.open(folder)
        masks = [held(pool, version) for version in (found.a, found.b)]
    except ValueError:
        return []
    if not pool.classes or not all(mask.any() for mask in masks):
        return []
    told = [f"{name} {100 * a:.1f} to {100 * b:.1f} %" for name, a, b in moved(*(classes(pool, mask) for mask in masks))]
    return ["classes, from A to B: " + ", ".join(told[:SHOWN])]
