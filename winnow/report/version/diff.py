"""How two dataset versions differ: what both hold, what only one does and why the other left it out, and the
shift of the classes.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from winnow.config.load import load as load_params
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool, open_pool
from winnow.report.version.histograms import Bar, classes
from winnow.versions.version import Version, load

SHOWN = 5
FOREIGN = "not in its pool"


@dataclass(frozen=True)
class Difference:
    """Two versions; `only_a` and `only_b` map each uid that one alone holds to the other's reason to drop."""

    a: Version
    b: Version
    both: int
    only_a: dict[str, str]
    only_b: dict[str, str]

    @classmethod
    def of(cls, first: Path, second: Path) -> Self:
        """Open and compare the versions in two folders.

        Raises:
            ValueError: if a folder holds no version.
        """
        a, b = load(first), load(second)
        in_a, in_b = set(a.uids), set(b.uids)
        return cls(a, b, len(in_a & in_b), _reasons(b, in_a - in_b), _reasons(a, in_b - in_a))

    @property
    def either(self) -> int:
        return self.both + len(self.only_a) + len(self.only_b)


def compare(first: Path, second: Path, workspace: Workspace) -> list[str]:
    """Lines to print.

    Args:
        first: a version's folder, with uids.npy and, where known, reasons.parquet.
        second: another.
        workspace: whose pool has the labels; of versions of another pool, no classes are shown.

    Raises:
        ValueError: if a folder holds no version.
    """
    found = Difference.of(first, second)
    share = f" ({100 * found.both / found.either:.1f} %)" if found.either else ""
    return [
        f"A {first}: {len(found.a.uids)} examples",
        f"B {second}: {len(found.b.uids)} examples",
        f"both hold {found.both} of {found.either}{share}",
        _only("A", "B", found.only_a),
        _only("B", "A", found.only_b),
        *_shift(found, workspace),
    ]


def _only(one: str, other: str, reasons: dict[str, str]) -> str:
    """How many only one holds, by the reasons for which the other does not."""
    if not reasons:
        return f"only {one}: none"
    counted = sorted(Counter(reasons.values()).items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{reason} {count}" for reason, count in counted)
    return f"only {one}: {len(reasons)}; missing from {other} because: {listed}"


def _reasons(version: Version, uids: set[str]) -> dict[str, str]:
    """uid -> the version's reason to drop it; of an image that occurs several times, that of the first."""
    found = dict.fromkeys(sorted(uids), FOREIGN)
    table = version.reasons
    pairs = zip(table["uid"].to_pylist(), table["reason"].to_pylist(), strict=True)
    found.update({uid: reason for uid, reason in reversed(list(pairs)) if uid in uids and reason})
    return found


def kept(pool: Pool, version: Version) -> np.ndarray:
    """(rows,) bool: the rows of the pool that the version holds, of equal images the first.

    Raises:
        ValueError: naming an image that is not in this pool.
    """
    mask = np.zeros(len(pool), bool)
    mask[pool.rows(version.uids)] = True
    return mask


def shift(a: list[Bar], b: list[Bar]) -> list[tuple[str, float, float]]:
    """(name, share in A, share in B) of bars of one pool, the largest changes first."""
    pairs = [(one.name, one.after, other.after) for one, other in zip(a, b, strict=True)]
    return sorted(pairs, key=lambda pair: -round(abs(pair[2] - pair[1]), 9))


def _shift(found: Difference, workspace: Workspace) -> list[str]:
    """The classes whose shares differ most; none where the pool lacks an example, or has no labels."""
    try:
        pool = open_pool(workspace, load_params(workspace.params).datasets)
        masks = [kept(pool, version) for version in (found.a, found.b)]
    except ValueError:
        return []
    if not pool.classes or not all(mask.any() for mask in masks):
        return []
    pairs = shift(*(classes(pool, mask) for mask in masks))
    shown = [f"{name} {100 * a:.1f} to {100 * b:.1f} %" for name, a, b in pairs[:SHOWN]]
    return [f"classes, from A to B: {', '.join(shown)}"]
