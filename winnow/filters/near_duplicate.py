"""near_duplicate: of images whose perceptual hashes differ in few bits, keep the first.

The hash has 256 bits, because 64 bits cannot tell one T-shirt from another: on 12,000 Fashion-MNIST images,
64 bits within distance 2 pair images that correlate at 0.90, 256 bits within distance 20 pair three, which
correlate at 0.998; a JPEG of quality 75 moves the hash by 10 bits, a 15 % change of brightness by 2 (both
medians).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.filters import verdicts
from winnow.pool.hashes import hashes, pairs
from winnow.pool.images import HASH_BITS


@dataclass
class Config:
    max_distance: int = bounded(20, 0, below=HASH_BITS // 2)  # bits of 256 that may differ


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column phash. Greedy in row order: a row goes if an earlier row that stays is near it."""
    codes = hashes(pool)
    keep = np.ones(len(codes), bool)
    for row, other in pairs(codes, codes, config.max_distance):
        if other < row and keep[other]:
            keep[row] = False
    return verdicts(pool, keep, "near_duplicate")
