"""What `winnow show VERSION` tells: how a version was made, and which rows a filter dropped, as lines or as a page of pictures."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.data.pool import Pool
from stages.data.version import Version, counts
from stages.report.card import explain, settings
from stages.report.page import render
from stages.report.tiles import sample, tile

PICTURES = 200


def summary(version: Version) -> list[str]:
    """Lines to print: what it is, where it comes from, each step and what it dropped."""
    facts = version.lineage
    lines = [f"{version.name}: {len(version.uids)} images, sha256 {version.digest}"]
    if not facts:
        return [*lines, "no lineage.json: it was not made here"]
    parent = (
        f"version {facts['parent']['name']}, sha256 {facts['parent']['digest']}" if facts["parent"] else "none, it is a first version"
    )
    lines += [f"source {facts['source']['source']}; parent {parent}; seed {facts['seed']}; Winnow {facts['winnow']}"]
    for step in facts["steps"]:
        why = ", ".join(f"{reason} {count}" for reason, count in step["dropped"].items()) or "nothing"
        lines.append(
            f"  {step['name']} ({', '.join(settings(step['parameters'])) or 'no parameters'}): of {step['rows_in']} dropped {why}"
        )
    return [*lines, "not held, in all: " + (", ".join(f"{reason} {count}" for reason, count in facts["reasons"].items()) or "none")]


def dropped(version: Version, by: str) -> pa.Table:
    """The rows (uid, key, reason) that a filter dropped from the version, or that have that reason, in the order of the pool.

    Raises:
        ValueError: for a name that is neither a step nor a reason of the version.
    """
    rows = version.reasons.filter(pc.invert(version.reasons["keep"]))
    steps = {step["name"]: set(step["dropped"]) for step in version.lineage.get("steps", [])}
    wanted = {by, *steps.get(by, ())}
    found = rows.filter(pc.is_in(rows["reason"], value_set=pa.array(sorted(wanted), pa.string())))
    if not len(found) and by not in steps:
        known = ", ".join(f"{reason} {count}" for reason, count in counts(rows["reason"].to_pylist()).items()) or "no reasons at all"
        raise ValueError(f"--dropped-by {by}: neither a step nor a reason of {version.name}; it has: {known}")
    return found.select(["uid", "key", "reason"])


def page(version: Version, by: str, pool: Pool, limit: int = PICTURES) -> str:
    """The HTML with pictures of what a filter dropped, `limit` of them drawn at random.

    Raises:
        ValueError: as `dropped`; if the pool is not the version's.
    """
    found = dropped(version, by)
    rows = _rows(pool, found["key"])
    reasons = found["reason"].to_pylist()
    chosen = sample(np.arange(len(rows)), found["key"].to_pylist(), limit, 0, "dropped", by)
    grids = {
        reason: [tile(pool, int(rows[i]), found["key"][i].as_py()) for i in sorted(chosen) if reasons[i] == reason]
        for reason in counts(reasons)
    }
    explained = {reason: explain(reason, version.lineage.get("steps", ())) for reason in grids}
    return render("dropped.html.j2", version=version, by=by, total=counts(reasons), grids=grids, explained=explained)


def _rows(pool: Pool, keys: pa.ChunkedArray) -> np.ndarray:
    """The rows of the pool with these keys."""
    found = pc.index_in(keys, value_set=pool.table["key"].combine_chunks())
    if found.null_count:
        raise ValueError(f"{pool.folder}: not the pool of this version; it lacks {found.null_count} of its rows")
    rows: np.ndarray = found.to_numpy().astype(np.int64)
    return rows
