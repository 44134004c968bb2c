"""card.html of a dataset version: how many rows of the pool it holds and why not the others, its classes, and what both look like.

It knows what curation knows: roles, reasons, and what `ingest` left out. It does not know what is dirt.
"""

import ast
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from stages.data.pool import Pool
from stages.params import ROOT, Params
from stages.report.page import render
from stages.report.tiles import Tile, sample, tile

SHOWN = 12
# The reasons that curate itself gives; a filter's reason is explained by the first line of the filter's own file.
REASONS = {
    "spare_test": "in the source's test split, and not needed there",
    "near_held_out": "identical or near to an example of a split that is held out for the tasks",
}


def write_card(
    path: Path,
    name: str,
    pool: Pool,
    role: np.ndarray,
    reason: np.ndarray,
    seed: int,
    lineage: Mapping[str, str] | None = None,
) -> None:
    """Write the card of the version `name`.

    Args:
        role: (rows,) object, what each row of the pool became: a version, a split, or "dropped".
        reason: (rows,) object, why a row was dropped, None elsewhere.
        seed: chooses the examples that are shown.
        lineage: what the version was made of and how, such as `lineage(params)`; heading -> text.
    """
    kept = np.flatnonzero(role == name)
    content = {
        "name": name,
        "rows": len(pool),
        "kept": len(kept),
        "digest": _digest(pool, kept),
        "roles": _counts(role[(role != name) & (role != "dropped")]),
        "reasons": _counts(reason[role == "dropped"]),
        "not_ingested": _not_ingested(pool),
        "classes": _classes(pool, kept),
        "lineage": dict(lineage or {}),
        "explain": explain,
        "kept_tiles": _tiles(pool, kept, seed, name),
        "dropped_tiles": {r: _tiles(pool, np.flatnonzero((role == "dropped") & (reason == r)), seed, r)
                          for r in _counts(reason[role == "dropped"])},
    }  # fmt: skip
    path.write_text(render("card.html.j2", **content), encoding="utf-8")


def lineage(params: Params) -> dict[str, str]:
    """Where a version of these params comes from."""
    filters = []
    for name, block in params.curate.filters.items():
        settings = ", ".join(f"{key} {value}" for key, value in (block or {}).items())
        filters.append(f"{name} ({settings})" if settings else name)
    return {"source": params.dataset.source, "filters": ", then ".join(filters) or "none", "seed": str(params.seed)}


def explain(reason: str) -> str:
    """What a reason means, in words; the filter's file is read, not imported."""
    if reason in REASONS:
        return REASONS[reason]
    path = ROOT / "stages" / "filters" / f"{Path(reason).name}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else None
    return text.splitlines()[0].removeprefix(f"{reason}: ").rstrip(".") if text else ""


def _counts(values: np.ndarray) -> dict[str, int]:
    """Name -> count, the largest first."""
    names, counts = np.unique(values.astype(str), return_counts=True)
    return {str(names[i]): int(counts[i]) for i in np.lexsort((names, -counts))}


def _digest(pool: Pool, kept: np.ndarray) -> str:
    uids = sorted(set(pool.table["uid"].take(kept).to_pylist()))
    return hashlib.sha256("\n".join(uids).encode()).hexdigest()[:16]


def _not_ingested(pool: Pool) -> dict[str, int]:
    path = pool.folder / "dropped.parquet"
    return _counts(pq.read_table(path, columns=["reason"])["reason"].to_numpy(zero_copy_only=False)) if path.is_file() else {}


def _classes(pool: Pool, kept: np.ndarray) -> list[dict[str, Any]]:
    """Of each class its name and how many rows were found and kept; unlabelled rows last, where there are some."""
    labels = pool.table["label"].to_numpy()
    values = sorted(set(labels.tolist()), key=lambda label: (label < 0, label))
    names = {label: pool.classes[label] if 0 <= label < len(pool.classes) else "no label" for label in values}
    return [{"name": names[v], "found": int((labels == v).sum()), "kept": int((labels[kept] == v).sum())} for v in values]


def _tiles(pool: Pool, rows: np.ndarray, seed: int, salt: str) -> list[Tile]:
    names = pool.table["key"].take(rows).to_pylist()
    return [tile(pool, row) for row in sample(rows, names, SHOWN, seed, "card", salt)]
