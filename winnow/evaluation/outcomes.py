"""What a task found for each test image: the values whose mean is the task's metric."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILE = "outcomes.parquet"


def write_outcomes(path: Path, uids: Sequence[str], values: Mapping[str, np.ndarray]) -> None:
    """Write `uid` and a column (n,) for each metric, such as whether the highest logit was right."""
    columns = {name: np.asarray(one) for name, one in values.items()}
    pq.write_table(pa.table({"uid": pa.array(list(uids), pa.string()), **columns}), path)


def read_outcomes(path: Path) -> tuple[list[str], dict[str, np.ndarray]]:
    """The uids (n,) and metric -> values (n,) float64.

    Raises:
        OSError, pa.ArrowInvalid: if there is no such file, or it is damaged.
    """
    table = pq.read_table(path)
    values = {name: table[name].to_numpy().astype(np.float64) for name in table.column_names if name != "uid"}
    return table["uid"].to_pylist(), values
