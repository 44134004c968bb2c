"""semantic_duplicate: of images whose embeddings are near to each other, keep one (SemDeDup, Abbas et al., arXiv 2303.09540).

Greedy by default: an image goes if one before it that stays is near. So everything that goes has a near image that stays, and
no chain of small steps joins images that are unlike. `components` drops more: of images joined by such a chain one stays,
which is what DINOv2 does (arXiv 2304.07193, appendix A). SemDeDup itself drops what is near to any earlier image of its
cluster, kept or not; greedy keeps an image whose only near one has gone.
"""

from dataclasses import dataclass

import pyarrow as pa

from stages.filters import vectors, verdicts
from stages.filters._pairs import KEEP, WAYS, distinct
from stages.filters._work import lasting
from stages.progress import track

READS = ("embedding",)


@dataclass
class Config:
    max_similarity: float = 0.95  # cosine; at or above it two images are one
    keep: str = "first"  # first: the most trusted; far, near: by the distance to the centroid of its cluster (SemDeDup: far)
    way: str = "greedy"  # or components
    clusters: int | None = None  # that images are compared within; null is one for each 96 images
    seed: int = 0

    def __post_init__(self) -> None:
        if not -1 < self.max_similarity <= 1:
            raise ValueError(f"max_similarity: {self.max_similarity} is out of range; allowed: above -1, up to 1")
        for key, allowed in (("keep", KEEP), ("way", WAYS)):
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key}: {getattr(self, key)!r} is unknown; allowed: {', '.join(allowed)}")
        if self.clusters is not None and self.clusters < 1:
            raise ValueError(f"clusters: {self.clusters} is too small; allowed: 1 or more, or null")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column embedding."""
    kept = distinct(
        vectors(pool, "embedding"),
        config.max_similarity,
        config.clusters,
        config.keep,
        config.way,
        config.seed,
        lasting(track),
    )
    return verdicts(pool, kept, "semantic_duplicate")
