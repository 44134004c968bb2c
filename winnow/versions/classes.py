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


def check_meet(pool: Pool, method: str) -> None:
    """Whether the reference and the pool have a class in common, where the reference has classes at all.

    Args:
        method: reads labels; for the error.

    Raises:
        ValueError: with names of both sides, if they have none.
    """
    theirs, ours = _reference_and_pool(pool)
    if theirs and not theirs & ours:
        given = f"its classes ({_listed(theirs)}) are none of the pool's ({_listed(ours)})"
        mend = "rename them, or take a method without labels"
        raise ValueError(f"datasets.reference: {given}, and method {method} compares them by name; {mend}")


def _reference_and_pool(pool: Pool) -> tuple[set[str], set[str]]:
    reference = _names(pool, [part for part in pool.parts if part.trusted])
    return reference, _names(pool, [part for part in pool.parts if not part.trusted])


def _names(pool: Pool, parts: list[Part]) -> set[str]:
    return {pool.classes[label] for part in parts for label in part.labels}


def _listed(names: set[str]) -> str:
    shown = ", ".join(sorted(names)[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown or "none"
