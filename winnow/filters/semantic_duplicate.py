"""semantic_duplicate: of images whose embeddings are near to each other, keep one.

After SemDeDup (Abbas et al., arXiv 2303.09540). Greedy by default: an image goes if one before it that stays
is near. So everything that goes has a near image that stays, and no chain of small steps connects images that
are unlike. `components` drops more: of images connected by such a chain one stays, which is what DINOv2 does
(arXiv 2304.07193, appendix A). SemDeDup itself drops what is near to any earlier image of its cluster, kept
or not; greedy keeps an image whose only near one was dropped.
"""

from dataclasses import dataclass

import pyarrow as pa

from winnow.clustering.pairs import KEEP, WAYS, distinct
from winnow.clustering.part_cache import part_cache
from winnow.config.bounds import bounded, one_of
from winnow.filters import vectors, verdicts
from winnow.pipeline.progress import track

EXTRA_COLUMNS = ("embedding",)


@dataclass
class Config:
    max_similarity: float = bounded(0.95, above=-1, high=1)  # cosine; at or above it two images are one
    # first: the most trusted; far, near: by the distance to the centroid of its cluster (SemDeDup: far)
    keep: str = one_of(*KEEP)
    way: str = one_of(*WAYS)
    clusters: int | None = bounded(None, 1)  # that images are compared within; null is one for each 96 images
    seed: int = 0


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column embedding."""
    kept = distinct(
        vectors(pool, "embedding"),
        config.max_similarity,
        config.clusters,
        config.keep,
        config.way,
        config.seed,
        part_cache(track),
    )
    return verdicts(pool, kept, "semantic_duplicate")
