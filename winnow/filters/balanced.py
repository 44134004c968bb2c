"""balanced: draw a part of the pool in which frequent concepts no longer crowd out rare ones.

Hierarchical k-means with resampling on the embeddings and balanced sampling from the top down (Vo et al.,
arXiv 2405.15613; winnow/clustering/hierarchy.py). One level is flat k-means.
"""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from winnow.clustering.hierarchy import Level, hierarchy, sample
from winnow.clustering.part_cache import NO_CACHE, PartCache, part_cache
from winnow.config import bounds
from winnow.config.bounds import bounded, one_of
from winnow.config.errors import ParamsError
from winnow.filters import vectors, verdicts
from winnow.pipeline.progress import track

EXTRA_COLUMNS = ("embedding",)
PICKS = ("random", "first", "near")


@dataclass
class Config:
    target: float = bounded(0.5, above=0)  # images to keep; up to 1 it is a fraction of those that come in
    # the lowest first; empty is three: n/100, and a tenth of it twice
    levels: list[Level] = field(default_factory=list)
    iterations: int = bounded(20, 1)  # of each k-means
    # which of a lowest cluster: drawn by the seed, the first (most trusted), or near to its centroid
    pick: str = one_of(*PICKS)
    seed: int = 0

    def check(self, key: str) -> None:
        if self.target > 1 and self.target != int(self.target):
            allowed = "a fraction up to 1, or a whole number above"
            raise ParamsError(f"{key}.target: {self.target} is no number of images; allowed: {allowed}")
        for number, level in enumerate(self.levels):
            bounds.check(level, f"{key}.levels[{number}]")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column embedding.

    Raises:
        ValueError: if a level has more clusters than there are images or clusters below it.
    """
    if not len(pool):
        return verdicts(pool, np.zeros(0, bool), "balanced")
    return verdicts(pool, draw(vectors(pool, "embedding"), config, part_cache(track)), "balanced")


def draw(matrix: np.ndarray, config: Config, cache: PartCache = NO_CACHE) -> np.ndarray:
    """Which rows (n,) bool of the embeddings (n, d) are drawn."""
    count = len(matrix)
    target = round(config.target * count) if config.target <= 1 else int(config.target)
    levels = list(config.levels) or default_levels(count)
    clusterings = hierarchy(matrix, levels, config.iterations, config.seed, cache)
    if config.pick == "random":
        priority = np.random.default_rng(config.seed).permutation(count)
    elif config.pick == "first":
        priority = np.arange(count)
    else:
        priority = -np.round(clusterings[0].similarities, 5)
    return sample([level.assignment for level in clusterings], target, priority, config.seed)


def default_levels(count: int) -> list[Level]:
    """Levels for so many rows: a cluster for a hundred rows, and two levels above; each but the first
    resampled ten times.
    """
    lowest = max(1, count // 100)
    return [Level(lowest, 1, 10), Level(max(1, lowest // 10), 10, 5), Level(max(1, lowest // 100), 10, 3)]
