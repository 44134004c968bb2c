"""curate: from the pool to the first versions and the splits: sorted uids, a reason for every drop, lineage, and a card to look at.

The source's test split and the probe and val splits are held out before anything is trained: what is identical or near to one
of them is dropped from the pool and from the reference. The dirt that `ingest` recorded is not read here.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages.data import uids as uid_files
from stages.data import version
from stages.data.pool import Pool
from stages.filters import decide
from stages.filters.near_duplicate import Config as Near
from stages.filters.near_duplicate import hashes, pairs
from stages.ledger.asked import asked
from stages.params import ROOT, Params, plugin_config
from stages.report.card import write_card
from stages.stage import Stage, main, write_json

HELD_OUT = ("test", "probe", "val")
VERSIONS = ("pool", "reference")


@dataclass
class Roles:
    """For each row of the pool: its role (pool, reference, test, probe, val or dropped), and the reason of a drop.

    `steps` are those of `lineage.json`: what was done, in order, and what each dropped.
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
        """Record as a step what is dropped within."""
        before = self.role.copy()
        yield
        gone = (self.role == "dropped") & (before != "dropped")
        self.steps.append(version.taken(step, int((before == "pool").sum()), self.reason[gone]))


def curate(stage: Stage) -> None:
    """Filter, assign, keep the held-out apart, write."""
    pool = Pool.open(ROOT / "data/pool")
    params = stage.params
    roles = assign(with_classes(pool), params)
    why = np.where(roles.role == "dropped", roles.reason, roles.role)
    for name in VERSIONS:
        folder = stage.work / "versions" / name
        version.write(folder, name, pool, roles.role == name, why, lineage(params, roles))
        write_card(folder, pool)
        write_json(folder / "flops.json", {"curate": 0})  # filters that read the index alone run no model
    _write_splits(stage.work / "splits", pool.table, roles, params)
    _count(stage, roles)
    stage.facts["asked"] = asked()


def lineage(params: Params, roles: Roles) -> dict[str, Any]:
    """What `version.write` cannot know of a first version."""
    return {"source": version.source(params.dataset), "parent": None, "model": None, "seed": params.seed, "steps": roles.steps}


def with_classes(pool: Pool) -> pa.Table:
    """The pool's index as filters get it: the names of the classes are the schema's metadata `classes`, a JSON list."""
    return pool.table.replace_schema_metadata({b"classes": json.dumps(pool.classes).encode()})


def assign(table: pa.Table, params: Params) -> Roles:
    """Give each row its role.

    Raises:
        ValueError: if the splits want more examples than are there.
        ParamsError: for a filter that needs more than the index.
    """
    count = len(table)
    roles = Roles(np.full(count, "pool", dtype=object), np.full(count, None, dtype=object))
    split, trusted = table["split"].to_numpy(zero_copy_only=False), table["trusted"].to_numpy(zero_copy_only=False)
    rank = _ranks(table, params.seed)
    with roles.step(_held_step(params, "test")):
        test = np.flatnonzero(split == "test")
        roles.role[test] = "spare test"
        roles.role[_first(test, rank, params.curate.splits.test, "test")] = "test"
        roles.drop(roles.rows("spare test"), "spare_test")
        _keep_apart(table, params, roles, held="test")
    _filter(table, params, roles, np.flatnonzero((split != "test") & trusted), np.flatnonzero((split != "test") & ~trusted))
    for name in ("probe", "val", "reference"):
        with roles.step(_held_step(params, name)):
            free = np.flatnonzero((roles.role == "pool") & trusted)
            roles.role[_first(free, rank, getattr(params.curate.splits, name), name)] = name
            if name != "reference":
                _keep_apart(table, params, roles, held=name)
    return roles


def _near(params: Params) -> Near:
    near: Near = plugin_config(Near, "curate.filters.near_duplicate", params.curate.filters.get("near_duplicate"))
    return near


def _held_step(params: Params, name: str) -> dict[str, Any]:
    """The step that takes `name` out of the pool, and what is near to it."""
    near = {} if name == "reference" else asdict(_near(params))
    parameters = {"count": getattr(params.curate.splits, name), **near}
    return {"name": f"take_{name}", "parameters": parameters, "code": version.code_hash("stages.curate")}


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
    """Apply the filters; trusted rows come first and so win over copies."""
    filters, key = params.curate.filters, "curate.filters"
    rows = np.concatenate([trusted, rest])
    rows = rows[roles.role[rows] == "pool"]
    reason, done = decide(table.take(rows), filters, key)
    dropped = np.array([text is not None for text in reason], bool)
    roles.drop(rows[dropped], reason[dropped])
    roles.steps += [version.taken(step, did.rows, did.dropped) for step, did in zip(version.steps(filters, key=key), done, strict=True)]


def _keep_apart(table: pa.Table, params: Params, roles: Roles, held: str) -> None:
    """Drop what is identical or near to a held-out example from the rows that have no role of their own yet."""
    held_rows, others = roles.rows(held), roles.rows("pool")
    uids = table["uid"].to_numpy(zero_copy_only=False)
    codes = hashes(table)
    leak = np.isin(uids[others], uids[held_rows])
    leak[pairs(codes[others], codes[held_rows], _near(params).max_distance)[:, 0]] = True
    roles.drop(others[leak], "near_held_out")


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
