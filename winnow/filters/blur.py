"""blur: drop images without edges, by the variance of their Laplacian (Pech-Pacheco et al., ICPR 2000).

What is sharp depends on what the images show, so the threshold is a start: look at the dropped images in the
datasheet.
"""

from dataclasses import dataclass

import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.filters import verdicts


@dataclass
class Config:
    # variance of the Laplacian of the grey levels, at no more than 256 pixels a side
    min_sharpness: float = bounded(20.0, 0)


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column sharpness."""
    return verdicts(pool, pool["sharpness"].to_numpy() >= config.min_sharpness, "blur")
