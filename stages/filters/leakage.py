"""leakage: drop what is near to a held-out image, with all that is joined to it (DINOv2, arXiv 2304.07193, appendix A).

Images of the pool whose cosine is above `joined` are joined, and so are those joined to them. Where any of such a component
has a cosine above `near` to a held-out image, the whole component goes: the near copies of a leak are leaks that
the lower threshold happened to miss. DINOv2 takes 0.6 and 0.45 on embeddings of SSCD, a copy detector; embeddings of other
models put unlike images nearer to each other, so look at what the card says was dropped and raise both.

Neighbours are exact. DINOv2 builds the graph of 64 neighbours of every image first; here the component grows from the leak,
each image leading to its 64 nearest, which compares only what is dropped.
"""

from dataclasses import dataclass

import pyarrow as pa

from stages.filters import vectors, verdicts
from stages.filters._neighbours import near_any, spread
from stages.filters._work import lasting
from stages.progress import track

READS = ("embedding",)
WITH = ("held_out",)


@dataclass
class Config:
    near: float = 0.45  # cosine to a held-out image
    joined: float = 0.6  # cosine between images of the pool
    neighbours: int | None = 64  # how many an image can be joined to; null is all

    def __post_init__(self) -> None:
        for key in ("near", "joined"):
            if not -1 < getattr(self, key) <= 1:
                raise ValueError(f"{key}: {getattr(self, key)} is out of range; allowed: above -1, up to 1")
        if self.neighbours is not None and self.neighbours < 1:
            raise ValueError(f"neighbours: {self.neighbours} is too small; allowed: 1 or more, or null")


def apply(pool: pa.Table, config: Config, held_out: pa.Table) -> pa.Table:
    """Reads the column embedding of both tables."""
    matrix = vectors(pool, "embedding")
    leaks = near_any(matrix, vectors(held_out, "embedding"), config.near, lasting(track))
    return verdicts(pool, ~spread(matrix, leaks, config.joined, config.neighbours), "leakage")
