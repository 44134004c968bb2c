"""One file per curation step: a `Config` dataclass and `apply(pool, config) -> Table`.

A filter gets the rows that are still kept, most trusted first, and answers with a row for each of them: uid, keep, reason.
It decides; the caller counts and records. Where a filter keeps one of several rows, it keeps the first.

A filter may ask for more, and is then for `versions.NAME.filters`:

    READS = ("embedding",)    columns beside the index's: embedding, text_embedding (unit length; `vectors` reads them)
    WITH = ("held_out",)      further tables with the same columns, given after the config in this order: held_out (the test,
                              probe and val splits), reference (the trusted reference version)
"""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from stages.params import plugin_config


@dataclass(frozen=True)
class Step:
    """What one filter did: how many rows it was given, and the reason of each that it dropped, (dropped,) object."""

    filter: str
    rows: int
    dropped: np.ndarray


def decide(
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
        others: the tables that `WITH` may name.
        prepare: adds the columns that `READS` may name to a table, "pool" or one of `others`. It is asked once each, when the first
            filter wants them, so that what cheaper filters drop is never embedded.

    Returns:
        The reason of each row's drop, (n,) object, None for what is kept; and what each filter did.
    """
    reason, steps, left = np.full(len(pool), None, object), [], np.arange(len(pool))
    tables: dict[str, pa.Table] = {**(others or {}), "pool": pool}
    ready: set[str] = set()
    for name, block in filters.items():
        if not len(left):
            break
        module = importlib.import_module(f"stages.filters.{name}")
        config = plugin_config(module.Config, f"{key}.{name}", block)
        wanted = ["pool", *getattr(module, "WITH", ())]
        if prepare is not None and hasattr(module, "READS"):
            tables |= {table: prepare(table, tables[table]) for table in wanted if table not in ready}
            ready.update(wanted)
        answer = module.apply(tables["pool"], config, *(tables[table] for table in wanted[1:]))
        keep = answer["keep"].to_numpy(zero_copy_only=False)
        why = answer["reason"].to_numpy(zero_copy_only=False)[~keep]
        reason[left[~keep]] = why
        steps.append(Step(name, len(left), why))
        if len(why):
            left, tables["pool"] = left[keep], tables["pool"].filter(pa.array(keep))
    return reason, steps


def vectors(pool: pa.Table, column: str) -> np.ndarray:
    """A column of embeddings as (n, d) float32, of unit length; no copy where the column is one chunk."""
    whole = pool[column]
    values = whole.chunk(0) if whole.num_chunks == 1 else pa.concat_arrays(whole.chunks or [pa.array([], whole.type)])
    flat: np.ndarray = values.flatten().to_numpy()
    return flat.reshape(len(pool), values.type.list_size)


def with_vectors(pool: pa.Table, column: str, values: np.ndarray) -> pa.Table:
    """The table with (n, d) float32 as a column of fixed-size lists."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    return pool.append_column(column, pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))


def verdicts(pool: pa.Table, keep: np.ndarray, reason: str) -> pa.Table:
    """The answer of a filter: uid, keep (n,) bool, and one reason for all rows that are not kept."""
    reasons = pa.array([None if kept else reason for kept in keep], pa.string())
    return pa.table({"uid": pool["uid"], "keep": pa.array(keep), "reason": reasons})
