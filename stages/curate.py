"""curate: from the ingested datasets to the first versions and the splits: sorted uids, a reason for every
drop, lineage.

It runs before any model exists (winnow/versions/roles.py).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.config.datasets import TaskSet
from winnow.config.plugins import declared
from winnow.config.schema import POOL, REFERENCE, TASKS, Params
from winnow.ledger.requested_by import requested_by
from winnow.pipeline.files import write_json
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool, open_pool, open_set
from winnow.preflight import check_filters
from winnow.versions import lineage, version
from winnow.versions.classes import check_meet, unmatched
from winnow.versions.flops import CurationFlops
from winnow.versions.guard import Guard
from winnow.versions.rank import ranks
from winnow.versions.roles import HELD_OUT, assign_roles, stratified, with_classes
from winnow.versions.task_splits import task_splits

Splits = dict[str, np.ndarray]  # split -> rows of the set's index


def curate(stage: Stage) -> None:
    """Filter, give each row its role, keep the held-out apart, write."""
    params, workspace = stage.params, stage.workspace
    pool = open_pool(workspace, params.datasets)
    if line := unmatched(pool):
        print(f"      {line}", flush=True)
    for method in params.reference.methods:  # known here, and not first when all is curated
        if "labels" in declared("models.methods", method, "NEEDS"):
            check_meet(pool, method)
    own = {name: open_set(workspace, params.datasets, name) for name, one in _own(stage).items()}
    splits = {name: _own_splits(stage, name, one) for name, one in own.items()}
    tested = {name: (one, _tested(splits[name])) for name, one in own.items()}
    guard = Guard(pool, tested, params)
    guarded = {name: one.table.take(rows) for name, (one, rows) in tested.items()}
    roles = assign_roles(with_classes(pool), params, guarded, guard.same_shot if guard.on else None)
    reason = np.where(roles.role == "dropped", roles.reason, roles.role)
    facts: dict[str, Any] = {"parent": None, "model": None, "seed": params.seed, "steps": roles.steps}
    held = {
        name: (pool, roles.rows_of(name)) for name, one in params.datasets.tasks.items() if one.held_out_of
    }
    facts["guard"] = guard.certificate(roles.leaks, {**held, **tested}, params.seed)
    sources = lineage.sources(params.datasets)
    for name in (POOL, REFERENCE):
        folder = stage.work / "versions" / name
        empty = name == REFERENCE and not params.datasets.reference
        version.write(folder, name, pool, roles.role == name, reason, facts, sources, may_be_empty=empty)
        CurationFlops().write(folder)  # filters that read the index alone run no model
    # Also without a set: DVC requires the folder.
    write_json(stage.work / "splits/sets.json", list(params.datasets.tasks))
    for name, one in params.datasets.tasks.items():
        rows = splits.get(name) or {split: roles.held_out(name, split) for split in HELD_OUT}
        of = pool if one.held_out_of else own[name]
        if one.held_out_of:
            _check_needs(name, one, params, of, rows)
        _write_splits(stage, stage.work / "splits" / name, of, rows)
    stage.metrics.update(version.counts(roles.role))
    stage.metrics["reasons"] = version.counts(roles.reason[roles.role == "dropped"])
    stage.metrics["rows"] = len(roles.role)
    stage.metrics["leaks"] = roles.leaks
    stage.facts["requested"] = requested_by()


def _tested(splits: Splits) -> np.ndarray:
    """What must not be trained on: the rows of test and val."""
    return np.concatenate([splits["test"], splits["val"]])


def _own(stage: Stage) -> dict[str, TaskSet]:
    """The task sets that have a source of their own."""
    return {name: one for name, one in stage.params.datasets.tasks.items() if one.source}


def _own_splits(stage: Stage, name: str, pool: Pool) -> Splits:
    one = stage.params.datasets.tasks[name]
    rows = task_splits(pool.table, one.splits, name, stage.params.seed)
    _check_needs(name, one, stage.params, pool, rows)
    return rows


def _check_needs(name: str, one: TaskSet, params: Params, pool: Pool, splits: Splits) -> None:
    """Whether all images of a set have the labels that its tasks and the readings on it need, and its test
    images the captions.
    """
    needs = [task for task in one.tasks if "labels" in declared("stages", task, "NEEDS")]
    needs += ["pretrain.readings"] if params.arms and name == params.pretrain.dvc.set else []
    rows = np.concatenate(list(splits.values()))
    if needs and (missing := int((pool.table["label"].to_numpy()[rows] < 0).sum())):
        given = f"{missing} of its {len(rows)} images have no label, and {', '.join(needs)} read labels"
        raise ValueError(f"datasets.{TASKS}.{name}: {given}; give labels, or leave them out")
    reading = [task for task in one.tasks if "captions" in declared("stages", task, "NEEDS")]
    test = splits["test"]
    if reading and (missing := pool.table["caption"].take(pa.array(test)).null_count):
        given = f"{missing} of its {len(test)} test images have no caption, which {', '.join(reading)} reads"
        raise ValueError(f"datasets.{TASKS}.{name}: {given}; give captions, or leave it out")


def _write_splits(stage: Stage, folder: Path, pool: Pool, splits: Splits) -> None:
    folder.mkdir(parents=True)
    table: pa.Table = pool.table
    uids, labels = table["uid"].to_numpy(zero_copy_only=False), table["label"].to_numpy()
    for name in HELD_OUT:
        uid_files.save(folder / f"{name}.npy", set(uids[splits[name]]))
    probe = splits["probe"]
    probe = probe[np.argsort(ranks(table, stage.params.seed)[probe], kind="stable")]
    for fraction in stage.params.curate.label_fractions:
        labelled = probe[stratified(labels[probe], fraction)] if len(probe) else probe
        uid_files.save(folder / f"labels-{fraction:g}.npy", set(uids[labelled]))


if __name__ == "__main__":
    main(curate, check_filters)
