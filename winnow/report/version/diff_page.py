"""The page of `winnow diff A B --html`: overlap, reasons, the shift of classes, sizes and clusters, and
pictures side by side.
"""

from collections import Counter
from pathlib import Path

import numpy as np

from winnow.config.load import load as load_params
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool, open_pool
from winnow.report.page.render import render
from winnow.report.page.tiles import Tile, sample, tile
from winnow.report.version.clusters import COLUMNS, cluster_map
from winnow.report.version.diff import Difference, kept, shift
from winnow.report.version.histograms import classes, sizes
from winnow.report.version.vectors import Vectors, drawn, embedded, hashed

PICTURES = 24  # of each side
BARS = 12


def page(first: Path, second: Path, workspace: Workspace) -> str:
    """The HTML of the difference between the versions in two folders, over the workspace's pool.

    Raises:
        ValueError: if a folder holds no version, or the pool lacks one of their examples.
    """
    found, pool = Difference.of(first, second), open_pool(workspace, load_params(workspace.params).datasets)
    a, b = kept(pool, found.a), kept(pool, found.b)
    what = _vectors(found, workspace, pool, drawn(np.flatnonzero(a | b)))
    totals = [max(int(side[what.rows].sum()), 1) for side in (a, b)]
    return render(
        Path(__file__).with_name("diff.html.j2"),
        found=found,
        names=_names(found),
        reasons=[Counter(side.values()).most_common() for side in (found.only_a, found.only_b)],
        classes=shift(classes(pool, a), classes(pool, b))[:BARS] if pool.classes else [],
        sizes=shift(sizes(pool, a), sizes(pool, b))[:BARS],
        clusters=cluster_map(pool, what, 0),
        shares=lambda rows: (float(a[rows].sum() / totals[0]), float(b[rows].sum() / totals[1])),
        kind=what.kind,
        columns=COLUMNS,
        tiles_a=_tiles(pool, found.only_a),
        tiles_b=_tiles(pool, found.only_b),
    )


def _names(found: Difference) -> tuple[str, str]:
    """The versions' names, or their folders where both have the same name."""
    a, b = found.a.name, found.b.name
    return (a, b) if a != b else (str(found.a.folder), str(found.b.folder))


def _vectors(found: Difference, workspace: Workspace, pool: Pool, rows: np.ndarray) -> Vectors:
    """Embeddings by the model of either version, if they are there for all rows: a part of them would favour
    the side that was embedded.
    """
    for version in (found.b, found.a):
        what = embedded(workspace, pool, rows, version)
        if what is not None and len(what.rows) == len(rows):
            return what
    return hashed(pool, rows)


def _tiles(pool: Pool, reasons: dict[str, str]) -> list[Tile]:
    """Pictures drawn at random; below each its class, and the other version's reason to drop it."""
    uids = list(reasons)
    chosen = sample(np.arange(len(uids)), uids, PICTURES, 0, "difference")
    return [
        tile(pool, int(row), reasons[uids[i]].replace("_", " "))
        for i, row in zip(chosen, pool.rows([uids[i] for i in chosen]), strict=True)
    ]
