"""refine@VERSION: from a version to a smaller one, by filters that may look at embeddings, captions and the held-out splits.

A version of `versions` descends from `pool`, or from another of them. It costs its embeddings, counted as if computed now, and the
training of the model that makes them, where that is known; an arm that trains on it is charged `pretrain.curation_share` of that.
"""

import hashlib
import importlib
import json
import shutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from stages.curate import HELD_OUT, with_classes
from stages.data import uids as uid_files
from stages.data import version as versions
from stages.data.partial import place
from stages.data.pool import Pool
from stages.filters import decide, vectors
from stages.filters._work import kept_in
from stages.ledger.asked import asked
from stages.params import MODELS, ROOT, Version
from stages.report.card import write_card
from stages.stage import Stage, main, write_json
from stages.training.embedding import Embeddings


def refine(stage: Stage) -> None:
    """Apply the version's filters to its parent's examples, and write what is left."""
    params, name = stage.params, str(stage.arm)
    wanted, key = params.versions[name], f"versions.{name}.filters"
    pool, parent = Pool.open(ROOT / "data/pool"), versions.load(ROOT / "data/versions" / wanted.parent)
    reads, others = _asked_for(wanted)
    columns = Columns(Embeddings(pool, wanted, params, stage.track), reads, _known(parent)) if reads else None
    rows = _most_trusted_first(pool, parent)
    tables = {other: _table(pool, _others(pool, other)) for other in others}
    described = versions.steps(wanted.filters, key=key)
    unfinished = place(f"refine-{name}", _key(described, pool, rows, tables, columns))
    resumed = any(unfinished.iterdir())
    with kept_in(unfinished):
        reason, steps = decide(_table(pool, rows), wanted.filters, key, tables, columns)
    kept = pa.array(reason, pa.string()).is_null().to_numpy(zero_copy_only=False)
    spent = columns.spent if columns else {}
    lineage = {
        "source": versions.source(params.dataset),
        "parent": {"name": parent.name, "digest": parent.digest},
        "model": columns.model(wanted) if columns else None,
        "flops": spent,
        "seed": params.seed,
        "steps": [versions.taken(one, step.rows, step.dropped) for one, step in zip(described, steps, strict=True)],
    }
    _write(stage, name, pool, parent, rows, reason, kept, lineage)
    write_card(stage.work, pool, columns.shown if columns else None)
    stage.flops["curate"] = sum(spent.values())
    stage.metrics.update(rows=len(rows), kept=int(kept.sum()), reasons=versions.counts(reason[~kept]))
    stage.facts["asked"] = asked()
    reused = columns.embeddings.reused if columns else 0
    if reused or resumed:  # the FLOPs count them, and what they cost when they were made was not measured here
        stage.facts |= {"embeddings_reused": reused, "energy_quality": "unknown", "kwh": None, "gco2e": None}
    shutil.rmtree(unfinished)


def _key(
    steps: list[dict[str, Any]], pool: Pool, rows: np.ndarray, others: dict[str, pa.Table], columns: "Columns | None"
) -> str:  # fmt: skip
    """A hash of all that decides what the filters find."""
    made_by = columns.embeddings.name if columns else None
    told = hashlib.sha256(json.dumps([steps, versions.sha256(pool.folder / "index.parquet"), made_by, sorted(others)]).encode())
    for some in (rows, *(others[name]["row"].to_numpy() for name in sorted(others))):
        told.update(some.tobytes() + b"|")
    return told.hexdigest()[:16]


@dataclass
class Columns:
    """Adds the columns that filters read to the tables that they get.

    `known` says what a version before this one had embedded by which model, and so paid for: model (SHA-256) -> TABLE.COLUMN.
    """

    embeddings: Embeddings
    reads: list[str]
    known: dict[str, set[str]]
    shown: tuple[np.ndarray, np.ndarray] | None = None  # rows and embeddings of what the first filter that reads them saw
    embedded: list[str] = field(default_factory=list)

    def __call__(self, name: str, table: pa.Table) -> pa.Table:
        rows = table["row"].to_numpy()
        for column in self.reads:
            free = f"{name}.{column}" in self.known.get(self.embeddings.embedder.key, ())
            table = getattr(self.embeddings, column)(rows, table, free)
            self.embedded.append(f"{name}.{column}")
        if name == "pool":
            self.shown = rows, vectors(table, "embedding")
        return table

    @property
    def spent(self) -> dict[str, int]:
        """FLOPs of the embeddings, and of training the model, which a version before this one may have paid for."""
        maker = self.embeddings.embedder
        return {"embeddings": self.embeddings.flops, "model": 0 if maker.key in self.known else maker.train_flops}

    def model(self, wanted: Version) -> dict[str, Any]:
        """What lineage.json says of it."""
        maker = self.embeddings.embedder
        named = {
            "name": maker.name,
            "path": versions.portable("model", wanted.model),
            "architecture": wanted.architecture,
            "sha256": maker.key,
        }
        return {**named, "image_size": maker.size, "store": self.embeddings.name, "embedded": sorted(self.embedded)}


def _known(version: versions.Version) -> dict[str, set[str]]:
    """What the version and those that it descends from had embedded."""
    known: dict[str, set[str]] = {}
    while parent := version.lineage.get("parent"):
        if model := version.lineage["model"]:
            known.setdefault(model["sha256"], set()).update(model["embedded"])
        version = versions.load(ROOT / "data/versions" / parent["name"])
    return known


def _asked_for(wanted: Version) -> tuple[list[str], list[str]]:
    """The columns and the further tables that the version's filters ask for."""
    modules = [importlib.import_module(f"stages.filters.{step}") for step in wanted.filters]
    reads = {column for module in modules for column in getattr(module, "READS", ())}
    return sorted(reads), sorted({table for module in modules for table in getattr(module, "WITH", ())})


def _most_trusted_first(pool: Pool, parent: versions.Version) -> np.ndarray:
    """The rows of the pool that the parent holds."""
    kept = np.flatnonzero(parent.reasons["keep"].to_numpy(zero_copy_only=False))
    trusted = pool.table["trusted"].to_numpy(zero_copy_only=False)[kept]
    return np.concatenate([kept[trusted], kept[~trusted]])


def _write(
    stage: Stage, name: str, pool: Pool, parent: versions.Version, rows: np.ndarray, reason: np.ndarray, kept: np.ndarray,
    lineage: dict[str, Any],
) -> None:  # fmt: skip
    """The version's files; what the parent left out keeps the parent's reason.

    flops.json holds all FLOPs, the parents' too, and how many of them trained which reference of this run: an arm that chooses by
    the same reference does not pay for that twice.
    """
    why = parent.reasons["reason"].to_numpy(zero_copy_only=False).astype(object)
    why[rows] = reason
    keep = np.zeros(len(pool), bool)
    keep[rows[kept]] = True
    versions.write(stage.work, name, pool, keep, why, lineage)
    inherited = json.loads((parent.folder / "flops.json").read_text(encoding="utf-8"))
    references = inherited.get("references", {})
    model = ROOT / stage.params.versions[name].model
    folder = model.parent if model.suffix else model
    if lineage["flops"].get("model") and folder.parent == ROOT / MODELS:
        references = {**references, folder.name: lineage["flops"]["model"]}
    spent = inherited["curate"] + sum(lineage["flops"].values())
    write_json(stage.work / "flops.json", {"curate": spent, "references": references})


def _table(pool: Pool, rows: np.ndarray) -> pa.Table:
    """The index's rows, their numbers as a column `row`, and the names of the classes."""
    return with_classes(pool).take(rows).append_column("row", pa.array(rows))


def _others(pool: Pool, name: str) -> np.ndarray:
    """Rows of the trusted reference version, or of all splits that are held out for the tasks."""
    paths = [ROOT / "data/versions/reference/uids.npy"]
    if name == "held_out":
        paths = [ROOT / f"data/splits/{split}.npy" for split in HELD_OUT]
    return pool.rows([uid for path in paths for uid in uid_files.load(path)])


if __name__ == "__main__":
    main(refine)
