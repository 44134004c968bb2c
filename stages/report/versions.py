"""How two dataset versions differ: what both hold, what only one does and why the other left it out, and the shift of the classes."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq

from stages.data import uids as uid_files
from stages.data.pool import Pool

SHOWN = 5


def compare(first: Path, second: Path, pool: Path) -> list[str]:
    """Lines to print.

    Args:
        first: a version's folder, with uids.npy and, where known, reasons.parquet.
        second: another.
        pool: the folder of the pool whose labels are looked at; a version of another pool shows no classes.

    Raises:
        ValueError: if a folder holds no version.
    """
    a, b = _uids(first), _uids(second)
    both, either = len(a & b), len(a | b)
    share = f" ({100 * both / either:.1f} %)" if either else ""
    lines = [f"A {first}: {len(a)} examples", f"B {second}: {len(b)} examples", f"both hold {both} of {either}{share}"]
    lines += [_only("A", "B", a - b, second), _only("B", "A", b - a, first)]
    return lines + _shift(a, b, pool)


def _uids(folder: Path) -> set[str]:
    try:
        return set(uid_files.load(folder / "uids.npy"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder}: no version there ({type(error).__name__}); give a folder with uids.npy, or its name") from None


def _only(here: str, there: str, uids: set[str], other: Path) -> str:
    """How many only one holds, by the reason for which the other does not."""
    if not uids:
        return f"only {here}: none"
    why = Counter(_reasons(other, uids).values())
    why["not in its pool"] = len(uids) - sum(why.values())
    told = ", ".join(f"{reason} {count}" for reason, count in why.most_common() if count)
    return f"only {here}: {len(uids)}; why {there} has them not: {told}"


def _reasons(folder: Path, uids: set[str]) -> dict[str, str]:
    """uid -> reason, of those that the version's own reasons name; of an image that came several times, the first."""
    path = folder / "reasons.parquet"
    if not path.is_file():
        return {}
    table = pq.ParquetFile(path).read(columns=["uid", "reason"])
    pairs = zip(table["uid"].to_pylist(), table["reason"].to_pylist(), strict=True)
    return {uid: reason for uid, reason in reversed(list(pairs)) if uid in uids and reason}


def _shift(a: set[str], b: set[str], folder: Path) -> list[str]:
    """The classes whose shares differ most; nothing where the pool does not know every example, or has no labels."""
    if not (folder / "index.parquet").is_file() or not a or not b:
        return []
    pool = Pool.open(folder)
    label = dict(zip(pool.table["uid"].to_pylist(), pool.table["label"].to_pylist(), strict=True))
    if not (a | b) <= label.keys() or not pool.classes:
        return []
    shares = [{name: count / len(side) for name, count in Counter(label[uid] for uid in side).items()} for side in (a, b)]
    shift = {k: round(abs(shares[1].get(k, 0) - shares[0].get(k, 0)), 9) for k in shares[0].keys() | shares[1].keys()}
    moved = sorted(shift, key=lambda k: (-shift[k], k))[:SHOWN]
    names = {k: pool.classes[k] if k >= 0 else "unlabelled" for k in moved}
    told = [f"{names[k]} {100 * shares[0].get(k, 0):.1f} to {100 * shares[1].get(k, 0):.1f} %" for k in moved]
    return ["classes, from A to B: " + ", ".join(told)]
