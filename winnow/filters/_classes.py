"""The names of a pool's classes, which its table carries as JSON under the metadata key `classes`."""

import json

import numpy as np
import pyarrow as pa


def class_names(pool: pa.Table) -> list[str]:
    """The names in the order of the labels; where the table carries none, the labels as text."""
    names: list[str] = json.loads((pool.schema.metadata or {}).get(b"classes", b"[]"))
    count = int(np.max(pool["label"].to_numpy(), initial=-1)) + 1
    return names + [str(label) for label in range(len(names), count)]
