"""An ingested dataset within a pool, and its tables as the pool shows them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.pool.images import HASH_BITS
from winnow.pool.index import Index

INDEX = pa.schema(
    {
        "key": pa.string(),
        "uid": pa.string(),
        "shard": pa.int32(),
        "offset": pa.int64(),
        "size": pa.int32(),
        "ext": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "label": pa.int32(),
        "caption": pa.string(),
        "split": pa.string(),
        "trusted": pa.bool_(),
        "mean": pa.float32(),
        "std": pa.float32(),
        "sharpness": pa.float32(),
        "phash": pa.binary(HASH_BITS // 8),
        "converted": pa.string(),
    }
)


@dataclass(frozen=True)
class Origin:
    """A dataset to open: its name and folder, `records` (see `Part`; by default the folder), and whether all
    of it is trusted.
    """

    name: str
    folder: Path
    records: Path | None = None
    trusted: bool = False


@dataclass(frozen=True)
class Part:
    """An ingested dataset within a pool.

    Its rows begin at `start` and its shards at number `shard`; `labels` (classes,) are the pool's labels for
    its own. `records` is the folder of dropped.parquet, corruption.parquet and sources.parquet.
    """

    name: str
    folder: Path
    records: Path
    trusted: bool
    start: int
    rows: int
    shard: int
    labels: np.ndarray


def open_dataset(folder: Path, index_cache: Path | None) -> tuple[Index, list[str]]:
    """The index and the classes of an ingested dataset.

    Raises:
        ValueError: if it is not complete.
    """
    try:
        index = Index.open(folder / "index.parquet", index_cache)
        classes: list[str] = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise ValueError(_no_pool(folder, error)) from None
    return index, classes


def columns(part: Part, names: list[str] | None, alone: bool) -> pa.Table:
    """Columns of the part's index, by default all and `dataset`; labels and shards are those of the pool.

    Args:
        alone: whether the pool has no other part: then keys are as they are, else they begin with its name.
    """
    table = with_names(part, read(part.folder / "index.parquet", names), alone)
    if not alone:
        labels = np.append(part.labels, -1).astype(np.int32)
        known = set(table.column_names)
        if "label" in known:
            table = _replaced(table, "label", pa.array(labels[table["label"].to_numpy()]))
        if "shard" in known:
            table = _replaced(table, "shard", pa.array(table["shard"].to_numpy() + np.int32(part.shard)))
    if part.trusted and "trusted" in table.column_names:
        table = _replaced(table, "trusted", pa.array(np.ones(len(table), bool)))
    if names is None:
        dataset = pa.array(np.full(len(table), part.name, object), pa.string())
        table = table.append_column("dataset", dataset)
    return table


def with_names(part: Part, table: pa.Table, alone: bool) -> pa.Table:
    """The table with the part's name before each key, unless it is the only part."""
    if alone or "key" not in table.column_names:
        return table
    return _replaced(table, "key", pc.binary_join_element_wise(part.name, table["key"], "/"))


def read(path: Path, names: list[str] | None) -> pa.Table:
    """Columns of a table, by default all.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        # pq.read_table imports pandas: 0.6 s a stage
        return pq.ParquetFile(path).read(names)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise ValueError(_no_pool(path.parent, error)) from None


def _replaced(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


def _no_pool(folder: Path, error: Exception) -> str:
    why = str(error).splitlines()[0]
    return f"{folder}: no complete pool here ({why}); make it with: dvc repro ingest@{folder.name}"
