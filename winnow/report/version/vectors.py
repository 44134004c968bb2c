"""What a cluster map compares examples by: embeddings, where this workspace has them, else hashes."""

from dataclasses import dataclass

import numpy as np

from winnow.embedding.cache import Store
from winnow.pipeline.workspace import Workspace
from winnow.pool.hashes import hashes
from winnow.pool.pool import Pool
from winnow.versions.version import Version

MOST = 20_000  # rows of a map; of more, as many are drawn


@dataclass(frozen=True)
class Vectors:
    """`values` (n, d) float32 of the pool's `rows` (n,), and what they are, in words."""

    rows: np.ndarray
    values: np.ndarray
    kind: str


def drawn(rows: np.ndarray) -> np.ndarray:
    """At most `MOST` of the rows, sorted."""
    return np.sort(np.random.default_rng(0).permutation(rows)[:MOST])


def embedded(workspace: Workspace, pool: Pool, rows: np.ndarray, version: Version) -> Vectors | None:
    """Embeddings by the model that made the version, of those of the rows that have one; None where none has.

    They are a cache: another machine, or this one after a clean-up, may not have them.
    """
    model = version.lineage.get("model") or {}
    folder = workspace.embeddings / str(model.get("store")) / "images"
    if not folder.is_dir():
        return None
    store, uids = Store(folder), pool.column("uid", rows).to_pylist()
    missing = {uids[i] for i in store.missing(uids)}
    there = [i for i, uid in enumerate(uids) if uid not in missing]
    if not there:
        return None
    return Vectors(rows[there], store.get([uids[i] for i in there]), f"embeddings by {model['name']}")


def hashed(pool: Pool, rows: np.ndarray) -> Vectors:
    """Perceptual hashes, a dimension a bit.

    They know what lies where in a picture and how bright it is, and nothing of what it shows.
    """
    bits = np.unpackbits(hashes(pool.table.take(rows)), axis=1)
    return Vectors(rows, bits.astype(np.float32), "perceptual hashes")
