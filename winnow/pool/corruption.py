"""The one reader of corruption.parquet: only reports and the stage `oracle` may know what was corrupted."""

import numpy as np

from winnow.pool.pool import Pool


def kinds_of_rows(pool: Pool) -> np.ndarray:
    """The corruption of each row of the index, an object array (rows,) with None for clean."""
    table = pool.records("corruption", ["key", "corruption"])
    kinds = dict(zip(table["key"].to_pylist(), table["corruption"].to_pylist(), strict=True))
    out = np.full(len(pool), None, dtype=object)
    if kinds:
        out[:] = [kinds.get(key) for key in pool.table["key"].to_pylist()]
    return out
