"""leakage: drop what is near to a held-out image, with all that is connected to it.

After DINOv2 (arXiv 2304.07193, appendix A). Images of the pool whose cosine is above `joined` are connected.
Where any image of a connected component has a cosine above `near` to a held-out image, the whole component
goes: the near copies of a leak are leaks that the threshold happened to miss. DINOv2 takes 0.6 and 0.45 on
embeddings of SSCD, a copy detector; embeddings of other models put unlike images nearer to each other, so
look at the dropped images in the datasheet and raise both.

Neighbours are exact. DINOv2 first builds the graph of the 64 neighbours of every image; here the component
grows from the leak, each image leading to its 64 nearest, which compares only what is dropped.
"""

from dataclasses import dataclass

import pyarrow as pa

from winnow.clustering.neighbours import near_any, spread
from winnow.clustering.part_cache import part_cache
from winnow.config.bounds import bounded
from winnow.filters import vectors, verdicts
from winnow.pipeline.progress import track

EXTRA_COLUMNS = ("embedding",)
EXTRA_TABLES = ("held_out",)


@dataclass
class Config:
    near: float = bounded(0.45, above=-1, high=1)  # cosine to a held-out image
    joined: float = bounded(0.6, above=-1, high=1)  # cosine between images of the pool
    neighbours: int | None = bounded(64, 1)  # how many an image can be connected to; null is all


def apply(pool: pa.Table, config: Config, held_out: pa.Table) -> pa.Table:
    """Reads the column embedding of both tables."""
    matrix = vectors(pool, "embedding")
    leaks = near_any(matrix, vectors(held_out, "embedding"), config.near, part_cache(track))
    return verdicts(pool, ~spread(matrix, leaks, config.joined, config.neighbours), "leakage")
