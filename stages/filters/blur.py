"""blur: drop images without edges, by the variance of their Laplacian (Pech-Pacheco et al., ICPR 2000).

What is sharp depends on what the pictures show, so the threshold is a start, not a truth: look at what the card says was dropped.
"""

from dataclasses import dataclass

import pyarrow as pa

from stages.filters import verdicts


@dataclass
class Config:
    min_sharpness: float = 20.0  # variance of the Laplacian of the grey levels, at no more than 256 pixels a side


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column sharpness."""
    return verdicts(pool, pool["sharpness"].to_numpy() >= config.min_sharpness, "blur")
