"""One file per curation step: a `Config` dataclass and `apply(pool, config) -> Table`.

A filter gets the rows that are still kept, most trusted first, and answers with a row for each of them: uid,
keep, reason. It decides; the caller counts and records. Where a filter keeps one of several rows, it keeps
the first.

A filter that needs more than the index says so, and works only below `versions.NAME.filters`:

    EXTRA_COLUMNS = ("embedding",)   more columns: embedding, text_embedding (unit length; see `vectors`)
    EXTRA_TABLES = ("held_out",)     more tables of the same columns, passed after the config in this order:
                                     held_out (test, probe and val), reference (the trusted version)
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.config.parse import plugin_config
from winnow.config.plugins import load_plugin


@dataclass(frozen=True)
class Step:
    """What one filter did: how many rows it was given, and the reason of each that it dropped, (dropped,)
    object.
    """

    filter: str
    rows: int
    dropped: np.ndarray


def apply_filters(
    pool: pa.Table,
    filters: Mapping[str, Any],
    key: str,
    others: Mapping[str, pa.Table] | None = None,
    prepare: Callable[[str, pa.Table], pa.Table] | None = None,
) -> tuple[np.ndarray, list[Step]]:
    """Apply filters in their order, each to what the earlier ones kept.

    Args:
        pool: rows, most trusted first.
        filters: name -> its block of params.yaml; `key` is where that stands, for errors.
        others: the tables that `EXTRA_TABLES` may name.
        prepare: adds the columns that `EXTRA_COLUMNS` may name to a table, "pool" or one of `others`. It is
            called once for each, when the first filter needs them, so that what cheaper filters drop is
            never embedded.

    Returns:
        The reason of each row's drop, (n,) object, None for what is kept; and what each filter did.
    """
    reasons, steps, left = np.full(len(pool), None, object), [], np.arange(len(pool))
    tables: dict[str, pa.Table] = {**(others or {}), "pool": pool}
    prepared: set[str] = set()
    for name, block in filters.items():
        if not len(left):
            break
        module = load_plugin("winnow.filters", name)
        config = plugin_config(module.Config, f"{key}.{name}", block)
        needed = ["pool", *getattr(module, "EXTRA_TABLES", ())]
        if prepare is not None and hasattr(module, "EXTRA_COLUMNS"):
            tables |= {table: prepare(table, tables[table]) for table in needed if table not in prepared}
            prepared.update(needed)
        answer = module.apply(tables["pool"], config, *(tables[table] for table in needed[1:]))
        keep = answer["keep"].to_numpy(zero_copy_only=False)
        dropped = answer["reason"].to_numpy(zero_copy_only=False)[~keep]
        reasons[left[~keep]] = dropped
        steps.append(Step(name, len(left), dropped))
        if len(dropped):
            left, tables["pool"] = left[keep], tables["pool"].filter(pa.array(keep))
    return reasons, steps


def extras(filters: Iterable[str]) -> tuple[list[str], list[str]]:
    """The columns and the tables beyond the index that some of the filters need, sorted."""
    modules = [load_plugin("winnow.filters", name) for name in filters]
    columns = {column for module in modules for column in getattr(module, "EXTRA_COLUMNS", ())}
    tables = {table for module in modules for table in getattr(module, "EXTRA_TABLES", ())}
    return sorted(columns), sorted(tables)


def vectors(pool: pa.Table, column: str) -> np.ndarray:
    """A column of embeddings as (n, d) float32, of unit length; no copy where the column is one chunk."""
    chunked = pool[column]
    if chunked.num_chunks == 1:
        values = chunked.chunk(0)
    else:
        values = pa.concat_arrays(chunked.chunks or [pa.array([], chunked.type)])
    flat: np.ndarray = values.flatten().to_numpy()
    return flat.reshape(len(pool), values.type.list_size)


def with_vectors(pool: pa.Table, column: str, values: np.ndarray) -> pa.Table:
    """The table with (n, d) float32 as a column of fixed-size lists."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    return pool.append_column(column, pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))


def verdicts(pool: pa.Table, keep: np.ndarray, reason: str | np.ndarray) -> pa.Table:
    """The answer of a filter: uid, keep (n,) bool, and the reason of each row that is not kept.

    Args:
        reason: one for all rows, or an array (n,) of str, read only where `keep` is false.
    """
    reasons = np.array(np.broadcast_to(reason, keep.shape), object)
    reasons[keep] = None
    return pa.table({"uid": pool["uid"], "keep": pa.array(keep), "reason": pa.array(reasons, pa.string())})
