"""tiny: drop images whose shorter side is below `min_side` pixels."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.filters import verdicts


@dataclass
class Config:
    min_side: int = bounded(8, 0)  # pixels


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the columns width and height."""
    shorter = np.minimum(pool["width"].to_numpy(), pool["height"].to_numpy())
    return verdicts(pool, shorter >= config.min_side, "tiny")
