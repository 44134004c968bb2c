"""retrieval: keep what is near to the trusted reference (DINOv2, arXiv 2304.07193, section 3 and appendix A).

`sample` keeps the `neighbours` nearest images of each image of the reference: for large references (DINOv2:
over a million images, 4 neighbours; 32 for smaller ones). `cluster` clusters the pool and keeps up to
`per_cluster` images, drawn by the seed, of each cluster to which more than `min_queries` images of the
reference are assigned: for references too small for `sample` (DINOv2: 100,000 clusters, 10,000 images of each
with more than 3). `most` caps what is kept, at a million there: in `sample` the nearest neighbours of all
stay (every image's first neighbour before any image's second), in `cluster` a draw.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.clustering.kmeans_tree import assign, clustered
from winnow.clustering.neighbours import nearest
from winnow.clustering.part_cache import NO_CACHE, PartCache, part_cache
from winnow.clustering.rows import rank_in_group
from winnow.config.bounds import bounded, one_of
from winnow.filters import vectors, verdicts
from winnow.pipeline.progress import track

EXTRA_COLUMNS = ("embedding",)
EXTRA_TABLES = ("reference",)
MODES = ("sample", "cluster")
PROBES = 16  # cells in which a row looks for its cluster: here the cluster is what counts


@dataclass
class Config:
    mode: str = one_of(*MODES)
    neighbours: int = bounded(4, 1)  # of each image of the reference; sample
    clusters: int | None = bounded(None, 1)  # of the pool; null is the square root of its size; cluster
    min_queries: int = bounded(3, 0)  # a cluster counts if more images of the reference fall to it
    per_cluster: int = bounded(10_000, 1)
    most: int | None = bounded(None, 1)  # images kept in all; null is no limit
    seed: int = 0


def apply(pool: pa.Table, config: Config, reference: pa.Table) -> pa.Table:
    """Reads the column embedding of both tables."""
    matrix, queries = vectors(pool, "embedding"), vectors(reference, "embedding")
    retrieve = by_sample if config.mode == "sample" else by_cluster
    keep = np.zeros(len(pool), bool)
    keep[retrieve(matrix, queries, config, part_cache(track))[: config.most]] = True
    return verdicts(pool, keep, "not_retrieved")


def by_sample(
    matrix: np.ndarray, queries: np.ndarray, config: Config, cache: PartCache = NO_CACHE
) -> np.ndarray:
    """Rows of the matrix (n, d) that are neighbours of the queries (q, d), each once: first neighbours first,
    then the nearest.
    """
    rows, similarities = nearest(matrix, queries, config.neighbours, cache)
    rank = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
    order = np.lexsort((rows.reshape(-1), -similarities.reshape(-1), rank.reshape(-1)))
    ordered = rows.reshape(-1)[order]
    return ordered[np.sort(np.unique(ordered, return_index=True)[1])]


def by_cluster(
    matrix: np.ndarray, queries: np.ndarray, config: Config, cache: PartCache = NO_CACHE
) -> np.ndarray:
    """Rows of the matrix (n, d) from the clusters to which enough of the queries (q, d) fall, in the order of
    the draw.
    """
    if not len(matrix):
        return np.empty(0, np.int64)
    count = config.clusters or max(1, round(len(matrix) ** 0.5))
    cache = cache.for_inputs(matrix, clusters=count, seed=config.seed)
    tree = clustered(
        matrix, min(count, len(matrix)), config.seed, cache=cache.subfolder("tree"), probes=PROBES
    )
    cluster = assign(matrix, tree, probes=PROBES, cache=cache.subfolder("rows"))[0][:, 0]
    of_queries = assign(queries, tree, probes=PROBES)[0][:, 0]
    enough = np.bincount(of_queries, minlength=len(tree.leaves)) > config.min_queries
    order = np.random.default_rng(config.seed).permutation(len(matrix))
    by_cluster = order[np.argsort(cluster[order], kind="stable")]
    drawn = rank_in_group(cluster[by_cluster]) < config.per_cluster
    chosen = np.zeros(len(order), bool)
    chosen[by_cluster[drawn & enough[cluster[by_cluster]]]] = True
    return order[chosen[order]]
