"""balanced: draw a part of the pool in which frequent concepts no longer crowd out rare ones.

Hierarchical k-means with resampling on the embeddings and balanced sampling from the top down (Vo et al., arXiv 2405.15613);
`_hierarchy.py` tells how. One level is flat k-means.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from stages.filters import vectors, verdicts
from stages.filters._hierarchy import Level, hierarchy, sample
from stages.filters._work import Work, lasting
from stages.progress import track

READS = ("embedding",)
PICKS = ("random", "first", "near")


@dataclass
class Config:
    target: float = 0.5  # images to keep; up to 1 it is a fraction of those that come in
    levels: list[Level] = field(default_factory=list)  # the lowest first; empty is three: n/100, and a tenth of it twice
    iterations: int = 20  # of each k-means
    pick: str = "random"  # which of a lowest cluster: drawn by the seed, the first (most trusted), or near to its centroid
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.target > 0 or (self.target > 1 and self.target != int(self.target)):
            raise ValueError(f"target: {self.target} is no number of images; allowed: a fraction up to 1, or a whole number above")
        if self.iterations < 1:
            raise ValueError(f"iterations: {self.iterations} is too small; allowed: 1 or more")
        if self.pick not in PICKS:
            raise ValueError(f"pick: {self.pick!r} is unknown; allowed: {', '.join(PICKS)}")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column embedding.

    Raises:
        ValueError: if a level wants more clusters than there are images or clusters below it.
    """
    kept = chosen(vectors(pool, "embedding"), config, lasting(track)) if len(pool) else np.zeros(0, bool)
    return verdicts(pool, kept, "balanced")


def chosen(matrix: np.ndarray, config: Config, work: Work | None = None) -> np.ndarray:
    """Which rows (n,) bool of the embeddings (n, d) are drawn."""
    count = len(matrix)
    target = round(config.target * count) if config.target <= 1 else int(config.target)
    clusterings = hierarchy(matrix, list(config.levels) or usual(count), config.iterations, config.seed, work)
    turns = {
        "random": lambda: np.random.default_rng(config.seed).permutation(count),
        "first": lambda: np.arange(count),
        "near": lambda: -np.round(clusterings[0].fits, 5),
    }
    return sample([level.owner for level in clusterings], target, turns[config.pick](), config.seed)


def usual(count: int) -> list[Level]:
    """Levels for so many rows: a hundred rows for a cluster, and two levels above; each but the first resampled ten times."""
    lowest = max(1, count // 100)
    return [Level(lowest, 1, 10), Level(max(1, lowest // 10), 10, 5), Level(max(1, lowest // 100), 10, 3)]
