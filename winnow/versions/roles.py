"""The roles that curation gives to the rows of a pool: which version or task split holds each, or why it is
dropped.

The source's test split and the probe and val splits are held out before anything is trained: what is
identical or near to one of them is dropped from the pool and from the reference. What `ingest` corrupted is
not known here.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.config.parse import plugin_config
from winnow.config.schema import Params
from winnow.filters import apply_filters
from winnow.filters.near_duplicate import Config as NearDuplicate
from winnow.pipeline.code import digest
from winnow.pool.hashes import hashes, pairs
from winnow.pool.pool import Pool
from winnow.versions import lineage

HELD_OUT = ("test", "probe", "val")


@dataclass
class Roles:
    """For each row of the pool: its role (pool, reference, test, probe, val or dropped), and the reason of a
    drop.

    `steps` are those of `lineage.json`: what was done, in order, and what each step dropped.
    """

    role: np.ndarray
    reason: np.ndarray
    steps: list[dict[str, Any]] = field(default_factory=list)

    def drop(self, rows: np.ndarray, reasons: np.ndarray | str) -> None:
        self.role[rows], self.reason[rows] = "dropped", reasons

    def rows(self, *roles: str) -> np.ndarray:
        return np.flatnonzero(np.isin(self.role, roles))

    @contextmanager
    def step(self, step: Mapping[str, Any]) -> Iterator[None]:
        """Record as a step what is dropped within this context."""
        before = self.role.copy()
        yield
        gone = (self.role == "dropped") & (before != "dropped")
        self.steps.append(lineage.done(step, int((before == "pool").sum()), self.reason[gone]))


def with_classes(pool: Pool) -> pa.Table:
    """The pool's index as filters get it: the names of the classes are the schema's metadata `classes`, a
    JSON list.
    """
    return pool.table.replace_schema_metadata({b"classes": json.dumps(pool.classes).encode()})


def assign_roles(table: pa.Table, params: Params) -> Roles:
    """Give each row its role.

    Raises:
        ValueError: if a split needs more examples than there are.
    """
    count = len(table)
    roles = Roles(np.full(count, "pool", dtype=object), np.full(count, None, dtype=object))
    split = table["split"].to_numpy(zero_copy_only=False)
    trusted = table["trusted"].to_numpy(zero_copy_only=False)
    rank = ranks(table, params.seed)
    with roles.step(_step(params, "test")):
        test = np.flatnonzero(split == "test")
        roles.role[test] = "spare test"
        roles.role[_first(test, rank, params, "test")] = "test"
        roles.drop(roles.rows("spare test"), "spare_test")
        _keep_apart(table, params, roles, "test")
    # Trusted rows come first, so that they are kept rather than their copies.
    training = split != "test"
    _filter(table, params, roles, np.flatnonzero(training & trusted), np.flatnonzero(training & ~trusted))
    for name in ("probe", "val", "reference"):
        with roles.step(_step(params, name)):
            free = np.flatnonzero((roles.role == "pool") & trusted)
            roles.role[_first(free, rank, params, name)] = name
            if name in HELD_OUT:
                _keep_apart(table, params, roles, name)
    return roles


def _step(params: Params, name: str) -> dict[str, Any]:
    """The step that takes the examples of `name` out of the pool and, where it is held out, what is near."""
    near = asdict(_near(params)) if name in HELD_OUT else {}
    parameters = {"count": getattr(params.curate.splits, name), **near}
    return {"name": f"take_{name}", "parameters": parameters, "code": digest("winnow.versions.roles")}


def _near(params: Params) -> NearDuplicate:
    block = params.curate.filters.get("near_duplicate")
    near: NearDuplicate = plugin_config(NearDuplicate, "curate.filters.near_duplicate", block)
    return near


def ranks(table: pa.Table, seed: int) -> np.ndarray:
    """A pseudo-random order of the rows, (rows,) uint64, that depends on nothing but seed and key."""
    keys = table["key"].to_pylist()
    drawn = (hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8] for key in keys)
    return np.array([int.from_bytes(one, "big") for one in drawn], np.uint64)


def _first(rows: np.ndarray, rank: np.ndarray, params: Params, name: str) -> np.ndarray:
    """As many of the rows as `curate.splits.NAME` says, by rank."""
    count = getattr(params.curate.splits, name)
    if count > len(rows):
        raise ValueError(
            f"curate.splits.{name}: {count} is more than the {len(rows)} examples left; lower it, or raise "
            "dataset.trusted"
        )
    return rows[np.argsort(rank[rows], kind="stable")][:count]


def _filter(table: pa.Table, params: Params, roles: Roles, *groups: np.ndarray) -> None:
    """Apply the filters to the rows without a role, in the order of the groups."""
    filters, key = params.curate.filters, "curate.filters"
    rows = np.concatenate(groups)
    rows = rows[roles.role[rows] == "pool"]
    reasons, ran = apply_filters(table.take(rows), filters, key)
    dropped = np.array([reason is not None for reason in reasons], bool)
    roles.drop(rows[dropped], reasons[dropped])
    roles.steps += lineage.all_done(lineage.planned(filters, key), ran)


def _keep_apart(table: pa.Table, params: Params, roles: Roles, held_out: str) -> None:
    """Drop what is identical or near to a held-out example from the rows without a role of their own."""
    held, others = roles.rows(held_out), roles.rows("pool")
    uids, codes = table["uid"].to_numpy(zero_copy_only=False), hashes(table)
    leak = np.isin(uids[others], uids[held])
    leak[pairs(codes[others], codes[held], _near(params).max_distance)[:, 0]] = True
    roles.drop(others[leak], "near_held_out")


def stratified(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Positions of the first ceil(fraction * n) examples of each class, labels (n,); at least one a class."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([rows[: math.ceil(round(fraction * len(rows), 9))] for rows in classes])
