"""card.html: the datasheet of a version. What it holds and what not and why, with counts and pictures; its classes, sizes and
clusters before and after; where it comes from, step by step; what it cost; and how to make it again.

It is made from the version's own files and the pool, so it knows what curation knows. It does not know what is dirt.
"""

import ast
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.data.pool import Pool
from stages.data.version import Version, counts, load
from stages.params import ROOT
from stages.report.clusters import COLUMNS, cluster_map, hashed
from stages.report.histograms import classes, sizes
from stages.report.page import render
from stages.report.tiles import Tile, sample, tile

SHOWN = 12
DRAWN_FROM = 50_000  # of more rows, every second, third, ...: each is hashed for the draw
# Where curate itself put a row that a version does not hold.
ELSEWHERE = {
    "pool": "the version that is trained on",
    "reference": "the trusted version that the reference is trained on",
    "test": "a split held out for the tasks",
    "probe": "a split held out for the tasks",
    "val": "a split held out for the tasks",
}
# The reasons that curate itself gives; a filter's reason is explained by the first line of the filter's own file.
REASONS = {
    "spare_test": "in the source's test split, and not needed there",
    "near_held_out": "identical or near to an example of a split that is held out for the tasks",
}


def write_card(folder: Path, pool: Pool, vectors: tuple[np.ndarray, np.ndarray] | None = None) -> None:
    """Write card.html into the folder of a version that `stages.data.version.write` made from this pool.

    Args:
        vectors: rows of the pool (n,) and their embeddings (n, d) float32, for the cluster map; without them it is of perceptual
            hashes.
    """
    version = load(folder)
    keep = version.reasons["keep"].to_numpy(zero_copy_only=False)
    reason = version.reasons["reason"].to_numpy(zero_copy_only=False)
    why, seed = counts(reason[~keep]), int(version.lineage["seed"])
    steps = version.lineage["steps"]
    dropped = {name: count for name, count in why.items() if name not in ELSEWHERE}
    content = {
        "version": version,
        "rows": len(pool),
        "kept": int(keep.sum()),
        "elsewhere": {name: count for name, count in why.items() if name in ELSEWHERE},
        "places": ELSEWHERE,
        "reasons": dropped,
        "explained": {name: explain(name, steps) for name in dropped},
        "not_ingested": not_ingested(pool),
        "classes": classes(pool, keep),
        "sizes": sizes(pool, keep),
        "clusters": cluster_map(pool, *(vectors or hashed(pool, np.arange(len(pool)))), seed),
        "clustered": "embeddings" if vectors else "perceptual hashes",
        "kept_share": lambda members: float(keep[members].mean()),
        "columns": COLUMNS,
        "steps": [{**step, "settings": settings(step["parameters"])} for step in steps],
        "flops": flops(version),
        "stage": stage(version),
        "kept_tiles": _tiles(pool, np.flatnonzero(keep), seed, version.name),
        "dropped_tiles": {name: _tiles(pool, np.flatnonzero(~keep & (reason == name)), seed, name) for name in dropped},
    }
    (folder / "card.html").write_text(render("card.html.j2", **content), encoding="utf-8")


def settings(parameters: Mapping[str, Any]) -> list[str]:
    """The parameters of a step as `key value`; long lists are cut."""
    texts = [f"{key} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}" for key, value in parameters.items()]
    return [text if len(text) <= 100 else text[:100] + "…" for text in texts]


def flops(version: Version) -> int:
    """What the version's own making spent on models: that of its steps and of its embeddings, where they are told apart."""
    spent = version.lineage.get("flops") or {}
    return sum(spent.values()) + sum(step.get("flops", 0) for step in version.lineage["steps"])


def stage(version: Version) -> dict[str, str]:
    """The DVC stage that makes a version, and where that leaves what it cost."""
    if version.lineage["parent"]:
        return {"name": f"refine@{version.name}", "cost": f"data/versions/{version.name}/cost.json"}
    return {"name": "curate", "cost": "data/versions/cost.json"}


def explain(reason: str, steps: Sequence[Mapping[str, Any]] = ()) -> str:
    """What a reason means, in words: by its own filter's file, else by that of the step that gave it. Files are read, not imported."""
    if reason in REASONS:
        return REASONS[reason]
    for name in (reason, *(step["name"] for step in steps if reason in step.get("dropped", {}))):
        path = ROOT / "stages" / "filters" / f"{Path(name).name}.py"
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None
        if text:
            return text.splitlines()[0].removeprefix(f"{name}: ").rstrip(".")
    return ""


def not_ingested(pool: Pool) -> dict[str, int]:
    """Reason -> how many examples of the source are not in the pool for it."""
    path = pool.folder / "dropped.parquet"
    return counts(pq.ParquetFile(path).read(columns=["reason"])["reason"].to_pylist()) if path.is_file() else {}


def _tiles(pool: Pool, rows: np.ndarray, seed: int, salt: str) -> list[Tile]:
    rows = rows[:: max(1, len(rows) // DRAWN_FROM)]
    names = pool.table["key"].take(rows).to_pylist()
    return [tile(pool, row) for row in sample(rows, names, SHOWN, seed, "card", salt)]
