"""The roles that curation gives to the rows of a pool: which version or task split holds each, or why it is
dropped.

The pool is that of `datasets.pool` and, after it, of `datasets.reference`. What a task set is tested on is
held out before anything is trained: what is identical or near to it is dropped from pool and reference,
whichever dataset it is in. What `ingest` corrupted is not known here.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from winnow.config.datasets import TaskSet
from winnow.config.parse import plugin_config
from winnow.config.schema import POOL, REFERENCE, TASKS, Params
from winnow.filters import apply_filters
from winnow.filters.near_duplicate import Config as NearDuplicate
from winnow.pipeline.code import digest
from winnow.pool.hashes import hashes, pairs
from winnow.pool.index import RANKS
from winnow.pool.pool import Pool
from winnow.versions import lineage
from winnow.versions.rank import lowest, ranks

HELD_OUT = ("test", "probe", "val")
# Which of these rows of the pool, (n,) bool, show the same shot as held-out ones of it, or as a task set's.
SameShot = Callable[[np.ndarray, np.ndarray | str], np.ndarray]


@dataclass
class Roles:
    """For each row of the pool: its role (pool, reference, test, probe, val or dropped), the reason of a
    drop, and of a row that is held out the task set that it is held out for.

    `steps` are those of `lineage.json`: what was done, in order, and what each step dropped. `leaks` counts
    for each task set what went because of it, by reason.
    """

    role: np.ndarray
    reason: np.ndarray
    task_set: np.ndarray
    steps: list[dict[str, Any]] = field(default_factory=list)
    leaks: dict[str, dict[str, int]] = field(default_factory=dict)

    def drop(self, rows: np.ndarray, reasons: np.ndarray | str) -> None:
        self.role[rows], self.reason[rows] = "dropped", reasons

    def rows(self, *roles: str) -> np.ndarray:
        return np.flatnonzero(np.isin(self.role, roles))

    def held_out(self, task_set: str, split: str) -> np.ndarray:
        """The rows of a split of a task set that is held out of the pool."""
        return np.flatnonzero((self.role == split) & (self.task_set == task_set))

    def rows_of(self, task_set: str) -> np.ndarray:
        """All rows that are held out for a task set."""
        return np.flatnonzero(self.task_set == task_set)

    @contextmanager
    def step(self, name: str, parameters: Mapping[str, Any]) -> Iterator[None]:
        """Record as a step what is dropped within this context."""
        before = self.role.copy()
        yield
        gone = (self.role == "dropped") & (before != "dropped")
        step = {"name": name, "parameters": dict(parameters), "code": digest("winnow.versions.roles")}
        self.steps.append(lineage.done(step, int((before == "pool").sum()), self.reason[gone]))


def with_classes(pool: Pool) -> pa.Table:
    """The pool's index as filters get it: the names of the classes are the schema's metadata `classes`, a
    JSON list.
    """
    return pool.table.replace_schema_metadata({b"classes": json.dumps(pool.classes).encode()})


def assign_roles(
    table: pa.Table,
    params: Params,
    guarded: Mapping[str, pa.Table] | None = None,
    same_shot: SameShot | None = None,
) -> Roles:
    """Give each row its role.

    Args:
        table: the index of the pool, with its column `dataset`.
        guarded: task set with a source of its own -> the rows of its index that it is tested on.
        same_shot: `Guard.same_shot`; by default only equal bytes and near hashes are kept apart.

    Raises:
        ValueError: if a split needs more examples than there are.
    """
    return _Assignment(table, params, same_shot).run(guarded or {})


class _Assignment:
    """Gives roles in this order: tests, filters, what else is held out, the reference."""

    def __init__(self, table: pa.Table, params: Params, same_shot: SameShot | None) -> None:
        count = len(table)
        self.table, self.params, self.same_shot = table, params, same_shot
        unknown = np.full(count, None, object)
        self.roles = Roles(np.full(count, "pool", object), unknown.copy(), unknown)
        self.trusted = table["trusted"].to_numpy(zero_copy_only=False)
        self.test = pc.equal(table["split"], "test").to_numpy(zero_copy_only=False)
        self.rank = ranks(table, params.seed)
        own = [name for name, one in params.datasets.reference.items() if one.source]
        self.own_reference = self._of(*own)

    def run(self, guarded: Mapping[str, pa.Table]) -> Roles:
        held_out = {name: one for name, one in self.params.datasets.tasks.items() if one.held_out_of}
        self._take_tests({name: one for name, one in held_out.items() if one.splits.test})
        for name, images in guarded.items():
            with self.roles.step(f"guard_{name}", {"images": len(images), **self._near()}):
                self._keep_apart(images, name, name)
        self._filter()
        for split in ("probe", "val"):
            for name, one in held_out.items():
                self._take(name, str(one.held_out_of), split, getattr(one.splits, split) or 0)
        self._take_references()
        return self.roles

    def _of(self, *datasets: str) -> np.ndarray:
        """Whether each row is of one of the datasets."""
        names = pa.array(list(datasets), pa.string())
        return pc.is_in(self.table["dataset"], value_set=names).to_numpy(zero_copy_only=False)

    def _free(self, dataset: str) -> np.ndarray:
        """The trusted rows of a dataset that have no role of their own yet."""
        return np.flatnonzero((self.roles.role == "pool") & self.trusted & self._of(dataset))

    def _take_tests(self, held_out: Mapping[str, TaskSet]) -> None:
        """Hold out images of the sources' own test splits; those that are left over are not trained on."""
        taken: dict[str, np.ndarray] = {}
        free = self.test & self._of(*(str(one.held_out_of) for one in held_out.values()))
        for name, one in held_out.items():
            rows = np.flatnonzero(free & self._of(str(one.held_out_of)))
            taken[name] = self._first(rows, one.splits.test or 0, f"datasets.{TASKS}.{name}.splits.test")
            free[taken[name]] = False
        for number, (name, rows) in enumerate(taken.items()):
            with self.roles.step(*self._step("test", name, len(rows))):
                if number == 0:  # all sets have theirs before anything is dropped for being near to one
                    for other, theirs in taken.items():
                        self.roles.role[theirs], self.roles.task_set[theirs] = "test", other
                    self.roles.drop(np.flatnonzero(free), "spare_test")
                self._keep_apart(self.table.take(rows), rows, name)

    def _take(self, name: str, dataset: str, split: str, count: int) -> None:
        if not count:
            return
        with self.roles.step(*self._step(split, name, count)):
            taken = self._first(self._free(dataset), count, f"datasets.{TASKS}.{name}.splits.{split}")
            self._hold_out(taken, name, split)

    def _hold_out(self, rows: np.ndarray, name: str, split: str) -> None:
        self.roles.role[rows], self.roles.task_set[rows] = split, name
        self._keep_apart(self.table.take(rows), rows, name)

    def _take_references(self) -> None:
        for name, one in self.params.datasets.reference.items():
            key = f"datasets.{REFERENCE}.{name}.examples"
            with self.roles.step("take_reference", {"dataset": name, "count": one.examples}):
                if one.held_out_of:
                    taken = self._first(self._free(one.held_out_of), one.examples or 0, key)
                    self.roles.role[taken] = REFERENCE
                else:
                    self._take_own_reference(name, one.examples)

    def _take_own_reference(self, name: str, count: int | None) -> None:
        """All of a dataset, or as many by rank; the pool has none of the same images."""
        rows = np.flatnonzero((self.roles.role == "pool") & self._of(name))
        taken = lowest(rows, self.rank, len(rows) if count is None else count)
        self.roles.drop(np.setdiff1d(rows, taken), "spare_reference")
        self.roles.role[taken] = REFERENCE
        pool = self.roles.rows(POOL)
        same = pc.is_in(
            self.table["uid"].take(pool), value_set=self.table["uid"].take(taken).combine_chunks()
        )
        self.roles.drop(pool[same.to_numpy(zero_copy_only=False)], "in_reference")

    def _first(self, rows: np.ndarray, count: int, key: str) -> np.ndarray:
        """So many of the rows, by rank."""
        if count > len(rows):
            raise ValueError(
                f"{key}: {count} is more than the {len(rows)} examples left; lower it, or raise the "
                "dataset's `trusted`"
            )
        return lowest(rows, self.rank, count)

    def _filter(self) -> None:
        """Apply the filters, the most trusted rows first, so that they are kept rather than their copies."""
        # As `Index` orders equal images: training reads the row that is kept.
        trust = np.where(self.own_reference, 0, RANKS) + np.select([self.test, self.trusted], [0, 1], 2)
        rows = np.flatnonzero(self.roles.role == "pool")
        rows = rows[np.argsort(trust[rows], kind="stable")]
        filters, key = self.params.curate.filters, "curate.filters"
        reasons, ran = apply_filters(self.table.take(rows), filters, key)
        dropped = np.array([reason is not None for reason in reasons], bool)
        self.roles.drop(rows[dropped], reasons[dropped])
        self.roles.steps += lineage.all_done(lineage.planned(filters, key), ran)

    def _step(self, split: str, name: str, count: int) -> tuple[str, dict[str, Any]]:
        return f"take_{split}", {"task_set": name, "count": count, **self._near()}

    def _near(self) -> dict[str, Any]:
        block = self.params.curate.filters.get("near_duplicate")
        return asdict(plugin_config(NearDuplicate, "curate.filters.near_duplicate", block))

    def _keep_apart(self, held: pa.Table, which: np.ndarray | str, task_set: str) -> None:
        """Drop what is identical or near to a held-out example, or shows the same shot, from the rows without
        a role of their own.
        """
        others = self.roles.rows("pool")
        table = self.table.take(others)
        leak = pc.is_in(table["uid"], value_set=held["uid"].combine_chunks()).to_numpy(zero_copy_only=False)
        leak = leak.copy()
        leak[pairs(hashes(table), hashes(held), self._near()["max_distance"])[:, 0]] = True
        self.roles.drop(others[leak], "near_held_out")
        counts = self.roles.leaks.setdefault(task_set, {"near_held_out": 0, "same_shot": 0})
        counts["near_held_out"] += int(leak.sum())
        if self.same_shot is not None:
            rest = others[~leak]
            same = self.same_shot(rest, which)
            self.roles.drop(rest[same], "same_shot")
            counts["same_shot"] += int(same.sum())


def stratified(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Positions of the first ceil(fraction * n) examples of each class, labels (n,); at least one a class."""
    classes = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return np.concatenate([rows[: math.ceil(round(fraction * len(rows), 9))] for rows in classes])
