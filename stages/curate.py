"""curate: from the pool to versions and splits: sorted uids, a reason for every drop, and a card to look at.

The source's test split and the probe and val splits are held out before anything is trained: what is identical or near to one
of them is dropped from the pool and from the reference. The dirt that `ingest` recorded is not read here.
"""

import hashlib
import importlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.filters.near_duplicate import Config as Near
from stages.filters.near_duplicate import hashes, pairs
from stages.params import ROOT, Params, plugin_config
from stages.report.card import lineage, write_card
from stages.stage import Stage, main

HELD_OUT = ("test", "probe", "val")


@dataclass
class Roles:
    """For each row of the pool: its role (pool, reference, test, probe, val or dropped), and the reason of a drop."""

    role: np.ndarray
    reason: np.ndarray

    def drop(self, rows: np.ndarray, reasons: np.ndarray | str) -> None:
        self.role[rows], self.reason[rows] = "dropped", reasons

    def rows(self, *roles: str) -> np.ndarray:
        return np.flatnonzero(np.isin(self.role, roles))


def curate(stage: Stage) -> None:
    """Filter, assign, keep the held-out apart, write."""
    pool = Pool.open(ROOT / "data/pool")
    params = stage.params
    roles = assign(pool.table, params)
    for name in ("pool", "reference"):
        _write_version(stage.work / "versions" / name, name, pool, roles)
    _write_splits(stage.work / "splits", pool.table, roles, params)
    _count(stage, roles)
    for name in ("pool", "reference"):
        write_card(stage.work / "versions" / name / "card.html", name, pool, roles.role, roles.reason, params.seed, lineage(params))


def assign(table: pa.Table, params: Params) -> Roles:
    """Give each row its role.

    Raises:
        ValueError: if the splits want more examples than are there.
    """
    count = len(table)
    roles = Roles(np.full(count, "pool", dtype=object), np.full(count, None, dtype=object))
    split, trusted = table["split"].to_numpy(zero_copy_only=False), table["trusted"].to_numpy(zero_copy_only=False)
    rank = _ranks(table, params.seed)
    test = np.flatnonzero(split == "test")
    roles.role[test] = "spare test"
    roles.role[_first(test, rank, params.curate.splits.test, "test")] = "test"
    roles.drop(roles.rows("spare test"), "spare_test")
    _keep_apart(table, params, roles, held="test")
    _filter(table, params, roles, np.flatnonzero((split != "test") & trusted), np.flatnonzero((split != "test") & ~trusted))
    for name in ("probe", "val", "reference"):
        free = np.flatnonzero((roles.role == "pool") & trusted)
        roles.role[_first(free, rank, getattr(params.curate.splits, name), name)] = name
        if name != "reference":
            _keep_apart(table, params, roles, held=name)
    return roles


def _ranks(table: pa.Table, seed: int) -> np.ndarray:
    """A pseudo-random order of the rows that depends on nothing but seed and key."""
    keys = table["key"].to_pylist()
    return np.array([int.from_bytes(hashlib.sha256(f"{seed}:{key}".encode()).digest()[:8], "big") for key in keys], np.uint64)


def _first(rows: np.ndarray, rank: np.ndarray, wanted: int, name: str) -> np.ndarray:
    if wanted > len(rows):
        raise ValueError(
            f"curate.splits.{name}: {wanted} examples are wanted and {len(rows)} are left; lower it, or raise dataset.trusted"
        )
    return rows[np.argsort(rank[rows], kind="stable")][:wanted]


def _filter(table: pa.Table, params: Params, roles: Roles, trusted: np.ndarray, rest: np.ndarray) -> None:
    """Apply the filters in their order, each to what the earlier ones kept; trusted rows come first and so win over copies."""
    for name, block in params.curate.filters.items():
        module = importlib.import_module(f"stages.filters.{name}")
        rows = np.concatenate([trusted, rest])
        rows = rows[roles.role[rows] == "pool"]
        answer = module.apply(table.take(rows), plugin_config(module.Config, f"curate.filters.{name}", block))
        dropped = ~answer["keep"].to_numpy(zero_copy_only=False)
        roles.drop(rows[dropped], answer["reason"].to_numpy(zero_copy_only=False)[dropped])


def _keep_apart(table: pa.Table, params: Params, roles: Roles, held: str) -> None:
    """Drop what is identical or near to a held-out example from the rows that have no role of their own yet."""
    held_rows, others = roles.rows(held), roles.rows("pool")
    uids = table["uid"].to_numpy(zero_copy_only=False)
    near = plugin_config(Near, "curate.filters.near_duplicate", params.curate.filters.get("near_duplicate"))
    codes = hashes(table)
    leak = np.isin(uids[others], uids[held_rows])
    leak[pairs(codes[others], codes[held_rows], near.max_distance)[:, 0]] = True
    roles.drop(others[leak], "near_held_out")


def _write_version(folder: Path, name: str, pool: Pool, roles: Roles) -> None:
    """uids.npy (sorted) and reasons.parquet (every row of the pool: kept in this version, or why not)."""
    folder.mkdir(parents=True)
    rows = roles.rows(name)
    if not len(rows):
        raise ValueError(f"curate: nothing is left for the {name} version; loosen curate.filters or give more data")
    uid_files.save(folder / "uids.npy", sorted(set(pool.table["uid"].take(rows).to_pylist())))
    keep = roles.role == name
    why = [reason or role for role, reason in zip(roles.role, roles.reason, strict=True)]
    reasons = {
        "key": pool.table["key"],
        "uid": pool.table["uid"],
        "keep": pa.array(keep),
        "reason": pa.array([None if kept else text for kept, text in zip(keep, why, strict=True)], pa.string()),
    }
    pq.write_table(pa.table(reasons), folder / "reasons.parquet", compression="zstd")


def _write_splits(folder: Path, table: pa.Table, roles: Roles, params: Params) -> None:
    folder.mkdir(parents=True)
    uids, labels = table["uid"].to_numpy(zero_copy_only=False), table["label"].to_numpy()
    for name in HELD_OUT:
        uid_files.save(folder / f"{name}.npy", sorted(set(uids[roles.rows(name)])))
    probe = roles.rows("probe")
    probe = probe[np.argsort(_ranks(table, params.seed)[probe], kind="stable")]
    for fraction in params.semi_supervised.fractions:
        chosen = balanced(labels[probe], fraction)
        uid_files.save(folder / f"labels-{fraction:g}.npy", sorted(set(uids[probe[chosen]])))


def balanced(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Positions of the first ceil(fraction * n) examples of each class, labels (n,); at least one a class."""
    places = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([place[: math.ceil(round(fraction * len(place), 9))] for place in places])


def _count(stage: Stage, roles: Roles) -> None:
    names, counts = np.unique(roles.role.astype(str), return_counts=True)
    stage.metrics.update({str(name): int(n) for name, n in zip(names, counts, strict=True)})
    dropped = roles.reason[roles.role == "dropped"].astype(str)
    reasons, counts = np.unique(dropped, return_counts=True)
    stage.metrics["reasons"] = {str(reason): int(n) for reason, n in zip(reasons, counts, strict=True)}
    stage.metrics["rows"] = len(roles.role)


if __name__ == "__main__":
    main(curate)
