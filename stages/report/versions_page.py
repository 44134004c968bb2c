"""The page of `winnow diff A B --html`: overlap, why, the shift of classes, sizes and clusters, and pictures side by side."""

from collections import Counter
from pathlib import Path

import numpy as np

from stages.data.embeddings import Store
from stages.data.pool import Pool
from stages.params import ROOT
from stages.report.clusters import COLUMNS, cluster_map, hashed
from stages.report.histograms import classes, sizes
from stages.report.page import render
from stages.report.tiles import Tile, sample, tile
from stages.report.versions import Difference, held, moved

PICTURES = 24  # for each side
BARS = 12


def page(first: Path, second: Path, folder: Path) -> str:
    """The HTML of the difference between the versions in two folders, over the pool in a third.

    Raises:
        ValueError: if a folder holds no version or no pool, or the pool lacks an example of theirs.
    """
    found, pool = Difference.of(first, second), Pool.open(folder)
    a, b = held(pool, found.a), held(pool, found.b)
    rows, looks = hashed(pool, np.flatnonzero(a | b))
    vectors, kind = _embeddings(found, pool, rows) or (looks, "perceptual hashes")
    return render(
        "versions.html.j2",
        found=found,
        names=_names(found),
        reasons=[Counter(side.values()).most_common() for side in (found.only_a, found.only_b)],
        classes=moved(classes(pool, a), classes(pool, b))[:BARS] if pool.classes else [],
        sizes=moved(sizes(pool, a), sizes(pool, b))[:BARS],
        clusters=cluster_map(pool, rows, vectors, 0),
        shares=lambda members: (float(a[members].sum() / max(a[rows].sum(), 1)), float(b[members].sum() / max(b[rows].sum(), 1))),
        kind=kind,
        columns=COLUMNS,
        tiles_a=_tiles(pool, found.only_a),
        tiles_b=_tiles(pool, found.only_b),
    )


def _names(found: Difference) -> tuple[str, str]:
    """The versions' names, or folders where the names are one."""
    a, b = found.a.name, found.b.name
    return (a, b) if a != b else (str(found.a.folder), str(found.b.folder))


def _embeddings(found: Difference, pool: Pool, rows: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Embeddings that one of the versions was made by, and their model; None where they are not all kept here."""
    uids = pool.table["uid"].take(rows).to_pylist()
    for version in (found.b, found.a):
        model = version.lineage.get("model") or {}
        folder = ROOT / ".winnow/embeddings" / str(model.get("store")) / "images"
        if folder.is_dir() and not len((store := Store(folder)).missing(uids)):
            return store.get(uids), f"embeddings of {model['name']}"
    return None


def _tiles(pool: Pool, reasons: dict[str, str]) -> list[Tile]:
    """Pictures drawn at random; below each its class, and why the other version has it not."""
    uids = list(reasons)
    chosen = sample(np.arange(len(uids)), uids, PICTURES, 0, "difference")
    return [
        tile(pool, int(row), reasons[uids[i]].replace("_", " "))
        for i, row in zip(chosen, pool.rows([uids[i] for i in chosen]), strict=True)
    ]
