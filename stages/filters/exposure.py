"""exposure: drop images that are nearly black or nearly white on the whole."""

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from stages.filters import verdicts


@dataclass
class Config:
    darkest: float = 10.0  # mean grey level, 0 to 255
    brightest: float = 245.0


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column mean; the reasons are dark and bright."""
    mean = pool["mean"].to_numpy()
    dark, bright = mean < config.darkest, mean > config.brightest
    answer = verdicts(pool, ~(dark | bright), "dark")
    reasons = pc.if_else(pa.array(bright), "bright", answer["reason"].combine_chunks())
    return answer.set_column(2, "reason", reasons)
