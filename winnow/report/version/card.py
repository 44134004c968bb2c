"""card.html: the datasheet of a version. What it holds, what it leaves out and why, with counts and pictures;
its classes, sizes and clusters before and after; its steps, what it cost, and how to make it again.

It is made from the version's own files and the pool, so it knows what curation knows and no more: not which
examples were corrupted on purpose.
"""

from pathlib import Path
from typing import Any

import numpy as np

from winnow.config.schema import CLEAN
from winnow.pipeline.files import replacing
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool
from winnow.report.page.render import render
from winnow.report.page.tiles import Tile, sample, tile
from winnow.report.version.clusters import COLUMNS, cluster_map
from winnow.report.version.histograms import classes, sizes
from winnow.report.version.steps import explain, settings
from winnow.report.version.vectors import drawn, embedded, hashed
from winnow.versions.croissant import held
from winnow.versions.version import Version, counts, load

SHOWN = 12
DRAWN_FROM = 50_000  # rows; of more, every second or third: each is hashed for the draw
# Where curate put a row that this version does not hold.
ELSEWHERE = {
    "pool": "the version that is trained on",
    "reference": "the trusted version that the reference is trained on",
    "test": "a split held out for the tasks",
    "probe": "a split held out for the tasks",
    "val": "a split held out for the tasks",
}


def write_card(path: Path, workspace: Workspace, pool: Pool, name: str) -> int:
    """Write the card of the version of that name, made from this pool; how many examples it holds.

    Raises:
        ValueError: if there is no such version, or it was made from another pool.
    """
    version = load(workspace.version(name))
    if len(version.reasons) != len(pool):
        raise ValueError(f"{version.folder}: made from another pool; make it again with: dvc repro")
    keep = version.reasons["keep"].to_numpy(zero_copy_only=False)
    text = render(
        Path(__file__).with_name("card.html.j2"),
        version=version,
        steps=[{**s, "settings": settings(s["parameters"])} for s in version.lineage["steps"]],
        flops=flops(version),
        stage=stage(version),
        held_of=" + ".join(held(version.lineage)),
        rows=len(pool),
        kept=int(keep.sum()),
        classes=classes(pool, keep),
        sizes=sizes(pool, keep),
        not_ingested=not_ingested(pool),
        **_left_out(version, pool, keep),
        **_clusters(version, workspace, pool, keep),
        kept_tiles=_tiles(pool, np.flatnonzero(keep), int(version.lineage["seed"]), version.name),
    )
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return len(version.uids)


def _left_out(version: Version, pool: Pool, keep: np.ndarray) -> dict[str, Any]:
    """What the card says of the rows that the version does not hold."""
    reason = version.reasons["reason"].to_numpy(zero_copy_only=False)
    why, seed = counts(reason[~keep]), int(version.lineage["seed"])
    dropped = {name: count for name, count in why.items() if name not in ELSEWHERE}
    return {
        "elsewhere": {name: count for name, count in why.items() if name in ELSEWHERE},
        "places": ELSEWHERE,
        "reasons": dropped,
        "explained": {name: explain(name, version.lineage["steps"]) for name in dropped},
        "dropped_tiles": {
            name: _tiles(pool, np.flatnonzero(~keep & (reason == name)), seed, name) for name in dropped
        },
    }


def _clusters(version: Version, workspace: Workspace, pool: Pool, keep: np.ndarray) -> dict[str, Any]:
    """The map, of the rows that were embedded for this version, or of all by their hashes."""
    rows = drawn(np.arange(len(pool)))
    what = embedded(workspace, pool, rows, version) or hashed(pool, rows)
    return {
        "clusters": cluster_map(pool, what, int(version.lineage["seed"])),
        "clustered": what.kind,
        "kept_share": lambda members: float(keep[members].mean()),
        "columns": COLUMNS,
    }


def flops(version: Version) -> int:
    """What this version's own making, not its parents', spent on models: for its steps and its embeddings."""
    spent = version.lineage.get("flops") or {}
    return sum(spent.values()) + sum(step.get("flops", 0) for step in version.lineage["steps"])


def stage(version: Version) -> dict[str, str]:
    """The DVC stage that makes a version, and where that records what it cost."""
    if version.lineage["parent"]:
        module = "oracle" if version.name == CLEAN else "refine"
        return {"name": f"{module}@{version.name}", "cost": f"data/versions/{version.name}/cost.json"}
    return {"name": "curate", "cost": "data/versions/cost.json"}


def not_ingested(pool: Pool) -> dict[str, int]:
    """Reason -> how many examples of the source are not in the pool because of it."""
    return counts(pool.records("dropped", ["reason"])["reason"].to_pylist())


def _tiles(pool: Pool, rows: np.ndarray, seed: int, salt: str) -> list[Tile]:
    rows = rows[:: max(1, len(rows) // DRAWN_FROM)]
    keys = pool.table["key"].take(rows).to_pylist()
    return [tile(pool, row) for row in sample(rows, keys, SHOWN, seed, "card", salt)]
