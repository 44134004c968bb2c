"""Whether the classes of a pool and of its reference are the same: they meet by their names."""

from winnow.pool.parts import Part
from winnow.pool.pool import Pool

SHOWN = 5  # names in a line


def unmatched(pool: Pool) -> str | None:
    """Which names only the pool or only the reference has, in a line; None where there are none, or where the
    reference has no source of its own.
    """
    theirs, ours = _reference_and_pool(pool)
    if not theirs or theirs == ours:
        return None
    alone = f"of the reference alone: {_listed(theirs - ours)}; of the pool alone: {_listed(ours - theirs)}"
    return f"classes: {len(theirs & ours)} meet by name; {alone}"


def disjoint(pool: Pool) -> str | None:
    """Both sides' names where the reference has classes and none of them is one of the pool's, else None."""
    theirs, ours = _reference_and_pool(pool)
    if not theirs or theirs & ours:
        return None
    return f"its classes ({_listed(theirs)}) are none of the pool's ({_listed(ours)})"


def _reference_and_pool(pool: Pool) -> tuple[set[str], set[str]]:
    reference = _names(pool, [part for part in pool.parts if part.trusted])
    return reference, _names(pool, [part for part in pool.parts if not part.trusted])


def _names(pool: Pool, parts: list[Part]) -> set[str]:
    return {pool.classes[label] for part in parts for label in part.labels}


def _listed(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown or "none"
