"""aspect: drop images much longer than wide, or much wider than long: banners, strips, scrollbars."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.filters import verdicts


@dataclass
class Config:
    """The default is that of DataComp's basic filter (arXiv 2304.14108, appendix F)."""

    max_ratio: float = bounded(3.0, 1)  # of the longer side to the shorter


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the columns width and height."""
    width, height = (pool[name].to_numpy() for name in ("width", "height"))
    ratio = np.maximum(width, height) / np.maximum(np.minimum(width, height), 1)
    return verdicts(pool, ratio <= config.max_ratio, "aspect")
