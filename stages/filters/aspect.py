"""aspect: drop images that are much longer than wide, or the other way about: banners, strips and scrollbars."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from stages.filters import verdicts


@dataclass
class Config:
    max_ratio: float = 3.0  # of the longer side to the shorter; 3 is DataComp's basic filter (arXiv 2304.14108, appendix F)


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the columns width and height."""
    width, height = (pool[name].to_numpy() for name in ("width", "height"))
    ratio = np.maximum(width, height) / np.maximum(np.minimum(width, height), 1)
    return verdicts(pool, ratio <= config.max_ratio, "aspect")
