"""exact_duplicate: of rows with the same image bytes (the same uid), keep the first."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.filters import verdicts


@dataclass
class Config:
    """No settings."""


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the column uid."""
    _, first = np.unique(pool["uid"].to_numpy(zero_copy_only=False), return_index=True)
    keep = np.zeros(len(pool), bool)
    keep[first] = True
    return verdicts(pool, keep, "exact_duplicate")
