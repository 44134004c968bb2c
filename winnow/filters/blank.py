"""blank: drop images whose grey levels hardly differ."""

from dataclasses import dataclass

import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.filters import verdicts


@dataclass
class Config:
    min_std: float = bounded(4.0, 0)  # standard deviation of the grey levels, 0 to 127.5


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column std."""
    return verdicts(pool, pool["std"].to_numpy() >= config.min_std, "blank")
