"""refine@VERSION: from a version to a smaller one, by filters that may look at embeddings, captions and the
held-out splits.

A version of `versions` descends from `pool`, or from another of them. Its cost is its embeddings, counted as
if computed now, and the training of the model that makes them, where that is known; an arm that trains on it
is charged `pretrain.curation_share` of that. Energy and time are those of all attempts at it; the energy is
unknown where embeddings were used that another stage computed, and that no ancestor of the version paid for.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.clustering.part_cache import keeping_parts_in
from winnow.config.derive import reference_of_model
from winnow.config.schema import REFERENCE
from winnow.embedding.columns import Columns, embedded_before
from winnow.embedding.embeddings import Embeddings
from winnow.filters import apply_filters, extras
from winnow.ledger.cost import UNMEASURED
from winnow.ledger.requested_by import requested_by
from winnow.pipeline.attempts import Attempts
from winnow.pipeline.partial import partial_folder
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool, open_all, open_pool
from winnow.preflight import check_filters
from winnow.versions import lineage, version
from winnow.versions.flops import CurationFlops
from winnow.versions.roles import HELD_OUT, with_classes

Steps = list[dict[str, Any]]


def refine(stage: Stage) -> None:
    """Apply the version's filters to its parent's examples, and write what is left."""
    params, workspace = stage.params, stage.workspace
    settings, key = params.versions[stage.key], f"versions.{stage.key}.filters"
    pool, parent = open_pool(workspace, params.datasets), version.load(workspace.version(settings.parent))
    everything = open_all(workspace, params.datasets)  # begins with the rows of the pool
    names, others = extras(settings.filters)
    columns = None
    if names:
        embeddings = Embeddings(everything, settings, params, workspace, stage.track)
        columns = Columns(embeddings, names, embedded_before(parent, workspace))
    rows = _most_trusted_first(pool, parent)
    tables = {name: _table(everything, _rows_of(name, stage, everything)) for name in others}
    plan = lineage.planned(settings.filters, key)
    partial = _partial(stage, plan, pool, rows, tables, columns)
    attempts, resumed = stage.charge_attempts(partial), any(partial.iterdir())
    if columns:
        columns.embeddings.kept = lambda count: _note(attempts, count)
    with keeping_parts_in(partial):
        reasons, ran = apply_filters(_table(pool, rows), settings.filters, key, tables, columns)
    flops = columns.flops if columns else {}
    facts = {
        "parent": {"name": parent.name, "digest": parent.digest},
        "model": columns.model(settings) if columns else None,
        "flops": flops,
        "seed": params.seed,
        "steps": lineage.all_done(plan, ran),
    }
    _write(stage, pool, parent, rows, reasons, facts)
    _account(stage, parent, flops)
    before = sum(notes.get("embeddings", 0) for notes in attempts.earlier_notes)
    elsewhere = max(0, columns.embeddings.reused - before) if columns else 0
    if elsewhere or (resumed and not attempts.earlier):
        stage.facts |= {"embeddings_reused": elsewhere, **UNMEASURED}
    shutil.rmtree(partial)


def _partial(
    stage: Stage,
    plan: Steps,
    pool: Pool,
    rows: np.ndarray,
    tables: Mapping[str, pa.Table],
    columns: Columns | None,
) -> Path:
    """The folder for unfinished work of the filters, named by all that decides it."""
    row_numbers = hashlib.sha256()
    for numbers in (rows, *(tables[name]["row"].to_numpy() for name in sorted(tables))):
        row_numbers.update(numbers.tobytes() + b"|")
    index, store = pool.digests, columns.embeddings.name if columns else None
    inputs = [plan, index, store, sorted(tables), row_numbers.hexdigest()]
    code = [f"winnow.filters.{step['name']}" for step in plan]
    return partial_folder(stage.workspace.partial, f"refine-{stage.key}", inputs, *code)


def _most_trusted_first(pool: Pool, parent: version.Version) -> np.ndarray:
    """The rows of the pool that the parent holds."""
    kept = np.flatnonzero(parent.reasons["keep"].to_numpy(zero_copy_only=False))
    trusted = pool.table["trusted"].to_numpy(zero_copy_only=False)[kept]
    return np.concatenate([kept[trusted], kept[~trusted]])


def _table(pool: Pool, rows: np.ndarray) -> pa.Table:
    """The index's rows, their numbers as a column `row`, and the names of the classes."""
    return with_classes(pool).take(rows).append_column("row", pa.array(rows))


def _rows_of(name: str, stage: Stage, pool: Pool) -> np.ndarray:
    """Rows of the trusted reference version, or of what is held out for the tasks: all splits of a set that
    is held out of the pool, test and val of one with a source of its own.
    """
    workspace, found = stage.workspace, [stage.workspace.uids(REFERENCE)]
    if name == "held_out":
        sets = stage.params.datasets.tasks.items()
        found = [
            workspace.split(task_set, split)
            for task_set, one in sets
            for split in (HELD_OUT if one.held_out_of else ("test", "val"))
        ]
    return pool.rows(sorted({uid for path in found for uid in uid_files.load(path)}))


def _write(
    stage: Stage,
    pool: Pool,
    parent: version.Version,
    rows: np.ndarray,
    reasons: np.ndarray,
    facts: dict[str, Any],
) -> None:
    """The version's files; what the parent excluded keeps the parent's reason."""
    kept = np.array([reason is None for reason in reasons], bool)
    reason = parent.reasons["reason"].to_numpy(zero_copy_only=False).astype(object)
    reason[rows] = reasons
    keep = np.zeros(len(pool), bool)
    keep[rows[kept]] = True
    sources = lineage.sources(stage.params.datasets)
    version.write(stage.work, stage.key, pool, keep, reason, facts, sources)
    stage.metrics.update(rows=len(rows), kept=int(kept.sum()), reasons=version.counts(reasons[~kept]))


def _note(attempts: Attempts, embeddings: int) -> None:
    """Record that this attempt is about to keep so many embeddings; at once, so that a kill finds it."""
    attempts.notes["embeddings"] = embeddings
    attempts.flush()


def _account(stage: Stage, parent: version.Version, flops: dict[str, int]) -> None:
    """Record the FLOPs, and who asked for them."""
    method, spent = reference_of_model(stage.params.versions[stage.key].model), sum(flops.values())
    before, trained = CurationFlops.read(parent.folder), flops.get("model", 0)
    before.plus(stage.key, spent, method, trained).write(stage.work)
    stage.flops["curate"] = spent
    stage.facts["requested"] = requested_by()


if __name__ == "__main__":
    main(refine, check_filters)
