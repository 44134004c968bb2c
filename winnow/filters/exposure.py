"""exposure: drop images that are nearly black or nearly white on the whole."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.filters import verdicts


@dataclass
class Config:
    darkest: float = bounded(10.0, 0, 255)  # mean grey level
    brightest: float = bounded(245.0, 0, 255)


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column mean; the reasons are dark and bright."""
    mean = pool["mean"].to_numpy()
    dark, bright = mean < config.darkest, mean > config.brightest
    return verdicts(pool, ~(dark | bright), np.where(bright, "bright", "dark"))
