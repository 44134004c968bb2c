"""retrieval: keep what is near to the trusted reference (DINOv2, arXiv 2304.07193, section 3 and appendix A).

`sample` keeps the `neighbours` nearest images of each image of the reference: for references that are large (DINOv2: over a
million images, 4 neighbours; 32 for smaller ones). `cluster` clusters the pool and keeps up to `per_cluster` images, drawn
by the seed, of each cluster to which more than `min_queries` images of the reference fall: for references too small for
that (DINOv2: 100,000 clusters, 10,000 images of each with more than 3). `most` caps what is kept, at a million there: in `sample`
the nearest neighbours of all stay (every image's first neighbour before any image's second), in `cluster` a draw.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from stages.filters import vectors, verdicts
from stages.filters._clusters import assign, clustered
from stages.filters._neighbours import nearest
from stages.filters._work import Work, lasting
from stages.progress import track

READS = ("embedding",)
WITH = ("reference",)
MODES = ("sample", "cluster")
PROBES = 16  # cells in which a row looks for its cluster: here the cluster is what counts


@dataclass
class Config:
    mode: str = "sample"
    neighbours: int = 4  # of each image of the reference; sample
    clusters: int | None = None  # of the pool; null is its square root; cluster
    min_queries: int = 3  # a cluster is kept from if it holds more than so many images of the reference
    per_cluster: int = 10_000
    most: int | None = None  # images kept in all; null is no limit
    seed: int = 0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ValueError(f"mode: {self.mode!r} is unknown; allowed: {', '.join(MODES)}")
        for key, least in (("neighbours", 1), ("clusters", 1), ("min_queries", 0), ("per_cluster", 1), ("most", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                raise ValueError(f"{key}: {value} is too small; allowed: {least} or more")


def apply(pool: pa.Table, config: Config, reference: pa.Table) -> pa.Table:
    """Reads the column embedding of both tables."""
    matrix, queries = vectors(pool, "embedding"), vectors(reference, "embedding")
    found = by_sample(matrix, queries, config) if config.mode == "sample" else by_cluster(matrix, queries, config)
    kept = np.zeros(len(pool), bool)
    kept[found[: config.most]] = True
    return verdicts(pool, kept, "not_retrieved")


def by_sample(matrix: np.ndarray, queries: np.ndarray, config: Config, work: Work | None = None) -> np.ndarray:
    """Rows of the matrix (n, d) that are neighbours of the queries (q, d), each once: first neighbours first, then the nearest."""
    rows, fits = nearest(matrix, queries, config.neighbours, work or lasting(track))
    rank = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
    listed = rows.reshape(-1)[np.lexsort((rows.reshape(-1), -fits.reshape(-1), rank.reshape(-1)))]
    return listed[np.sort(np.unique(listed, return_index=True)[1])]


def by_cluster(matrix: np.ndarray, queries: np.ndarray, config: Config, work: Work | None = None) -> np.ndarray:
    """Rows of the matrix (n, d) from the clusters to which enough of the queries (q, d) fall, in the order of the draw."""
    if not len(matrix):
        return np.empty(0, np.int64)
    wanted = config.clusters or max(1, round(len(matrix) ** 0.5))
    work = (work or lasting(track)).on(matrix, clusters=wanted, seed=config.seed)
    tree = clustered(matrix, min(wanted, len(matrix)), config.seed, work=work.at("tree"), probes=PROBES)
    owner = assign(matrix, tree, probes=PROBES, work=work.at("rows"))[0][:, 0]
    asked = np.bincount(assign(queries, tree, probes=PROBES)[0][:, 0], minlength=len(tree.leaves))
    order = np.random.default_rng(config.seed).permutation(len(matrix))
    by_owner = order[np.argsort(owner[order], kind="stable")]
    place = np.arange(len(order)) - np.searchsorted(owner[by_owner], owner[by_owner])
    chosen = np.zeros(len(order), bool)
    chosen[by_owner[(place < config.per_cluster) & (asked[owner[by_owner]] > config.min_queries)]] = True
    return order[chosen[order]]
