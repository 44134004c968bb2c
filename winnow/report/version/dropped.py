"""What `winnow show VERSION` prints: how a version was made, and which rows a filter dropped, as lines or as
a page of pictures.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.pool.pool import Pool
from winnow.report.page.render import render
from winnow.report.page.tiles import Tile, sample, tile
from winnow.report.version.steps import explain, settings
from winnow.versions.croissant import held
from winnow.versions.version import Version, counts

PICTURES = 200


def summary(version: Version) -> list[str]:
    """Lines to print: what it is, where it comes from, each step and what it dropped."""
    facts = version.lineage
    lines = [f"{version.name}: {len(version.uids)} images, sha256 {version.digest}"]
    if not facts:
        return [*lines, "no lineage.json: made elsewhere"]
    parent = facts["parent"]
    origin = f"version {parent['name']}, sha256 {parent['digest']}" if parent else "none"
    datasets = " + ".join(held(facts))
    return [
        *lines,
        f"datasets {datasets}; parent {origin}; seed {facts['seed']}; Winnow {facts['winnow']}",
        *(_step(step) for step in facts["steps"]),
        f"excluded in total: {_listed(facts['reasons']) or 'none'}",
    ]


def _step(step: Mapping[str, Any]) -> str:
    parameters = ", ".join(settings(step["parameters"])) or "no parameters"
    dropped = _listed(step["dropped"]) or "none"
    return f"  {step['name']} ({parameters}): {step['rows_in']} rows in, dropped {dropped}"


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())


def dropped(version: Version, by: str) -> pa.Table:
    """The rows (uid, key, reason) that a filter dropped, or that have that reason, in the order of the pool.

    Args:
        by: a filter or a reason.

    Raises:
        ValueError: for a name that is neither a step nor a reason of the version.
    """
    rows = version.reasons.filter(pc.invert(version.reasons["keep"]))
    steps = {step["name"]: set(step["dropped"]) for step in version.lineage.get("steps", [])}
    reasons = {by, *steps.get(by, ())}
    found = rows.filter(pc.is_in(rows["reason"], value_set=pa.array(sorted(reasons), pa.string())))
    if not len(found) and by not in steps:
        known = _listed(counts(rows["reason"].to_pylist())) or "no reasons at all"
        raise ValueError(f"--dropped-by {by}: neither a step nor a reason of {version.name}; it has: {known}")
    return found.select(["uid", "key", "reason"])


def page(version: Version, by: str, pool: Pool, limit: int = PICTURES) -> str:
    """The HTML with pictures of what `dropped` finds, at most `limit` of them, drawn at random.

    Raises:
        ValueError: as `dropped`; if the pool is not the version's.
    """
    found = dropped(version, by)
    keys, reasons = (found[name].to_pylist() for name in ("key", "reason"))
    rows, total = _rows(pool, found["key"]), counts(reasons)
    grids: dict[str, list[Tile]] = {reason: [] for reason in total}
    for i in sorted(sample(np.arange(len(rows)), keys, limit, 0, "dropped", by)):
        grids[reasons[i]].append(tile(pool, int(rows[i]), keys[i]))
    explained = {reason: explain(reason, version.lineage.get("steps", ())) for reason in grids}
    template = Path(__file__).with_name("dropped.html.j2")
    return render(template, version=version, by=by, total=total, grids=grids, explained=explained)


def _rows(pool: Pool, keys: pa.ChunkedArray) -> np.ndarray:
    """The rows of the pool with these keys."""
    found = pc.index_in(keys, value_set=pool.table["key"].combine_chunks())
    if found.null_count:
        raise ValueError(f"{pool.folder}: not the pool of this version; {found.null_count} rows are missing")
    rows: np.ndarray = found.to_numpy().astype(np.int64)
    return rows
