"""What each filter finds of the dirt that was planted in a pool: recall for each kind, clean rows lost, precision.

    python -m benchmarks.filters fashion_mnist      or digits, emoji: a file of conf/dataset, with the pollution that stands there
    python -m benchmarks.filters digits 0 1 2       seeds of the pollution; cells are their means

Each filter alone judges the training images of the raw pool, the trusted ones first, as `curate` hands them over. A cell is the
share of the rows of that kind that the filter drops. Precision is the share of the dropped rows that are of a kind that the filter
is for (`aims`, in bold), and dirt that of any kind. The copy of a pair is the dirt, its original is clean; they are told apart by
key, because exact duplicates share a uid. Blank images of one grey level are copies of each other. Writes
benchmarks/filters_DATASET.md.

Filters that read embeddings are measured where a model is given, with `model=results/reference/models/METHOD` at the end.
"""

import hashlib
import importlib
import platform
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stages import compose
from stages.data.pool import Pool
from stages.ingest import ingest_source
from stages.params import ROOT, Version, parse, plugin_config

HERE = Path(__file__).resolve().parent
COPIES = ("blank", "exact_duplicate", "near_duplicate")
KINDS = ("noise", "permuted", "wrong_label", *COPIES)


@dataclass
class Row:
    """A line of the table: a filter, its settings, and the kinds of dirt that it is for."""

    filter: str
    aims: tuple[str, ...]
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return " ".join([self.filter, *(f"{key} {value}" for key, value in self.config.items())])


ROWS = [
    Row("tiny", ()),
    Row("aspect", ()),
    Row("blank", ("blank",)),
    Row("exposure", ("blank",)),
    Row("blur", ("blank",)),
    Row("exact_duplicate", COPIES[:2]),
    Row("near_duplicate", COPIES, {"max_distance": 4}),
    Row("near_duplicate", COPIES),
    Row("near_duplicate", COPIES, {"max_distance": 40}),
    Row("caption", ()),
    *(Row("semantic_duplicate", COPIES, {"max_similarity": similarity}) for similarity in (0.9999, 0.999, 0.995, 0.98)),
    Row("label_error", ("wrong_label",)),
    Row("label_error", ("wrong_label",), {"learn_from": "reference"}),
]


def columns(pool: Pool, rows: pa.Table, dataset: str, model: str | None) -> pa.Table:
    """The rows with their embeddings, where a model is given; filters that want them are left out otherwise."""
    if model is None:
        return rows
    from stages.training.embedding import Embeddings

    params = parse(compose.composed([f"dataset={dataset}", "experiment=curation_policies"]))
    place = {key: row for row, key in enumerate(pool.table["key"].to_pylist())}
    numbers = np.array([place[key] for key in rows["key"].to_pylist()])
    return Embeddings(pool, Version(model=model), params, lambda items, **_: items).embedding(numbers, rows)


def polluted(dataset: str, seed: int) -> Pool:
    """The pool of a dataset's config, made once."""
    given = parse(compose.composed([f"dataset={dataset}", "experiment=curation_policies", f"seed={seed}"])).dataset
    folder = ROOT / ".winnow" / "benchmarks" / hashlib.sha256(repr((given, seed, "filters")).encode()).hexdigest()[:12]
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        ingest_source(given, seed, partial, lambda items, **_: items)
        partial.rename(folder)
    return Pool.open(folder)


def judged(pool: Pool) -> tuple[pa.Table, np.ndarray]:
    """The training rows, trusted first, and the kind of dirt of each, blank text for clean."""
    trusted = pool.table["trusted"].to_numpy(zero_copy_only=False)
    train = np.flatnonzero(pool.table["split"].to_numpy(zero_copy_only=False) == "train")
    rows = pool.table.take(train[np.argsort(~trusted[train], kind="stable")])
    dirt = pq.ParquetFile(pool.folder / "dirt.parquet").read(columns=["key", "dirt"])
    kinds = dict(zip(dirt["key"].to_pylist(), dirt["dirt"].to_pylist(), strict=True))
    return rows, np.array([kinds.get(key, "") for key in rows["key"].to_pylist()])


def measure(row: Row, rows: pa.Table, kinds: np.ndarray) -> dict[str, float]:
    """Shares dropped, of each kind, of the clean (blank text) and of all; precision, dirt and seconds."""
    module = importlib.import_module(f"stages.filters.{row.filter}")
    config = plugin_config(module.Config, row.filter, row.config)
    others = {"reference": rows.filter(rows["trusted"]), "held_out": rows.slice(0, 0)}
    start = time.perf_counter()
    answer = module.apply(rows, config, *(others[name] for name in getattr(module, "WITH", ())))
    seconds = time.perf_counter() - start
    dropped = ~answer["keep"].to_numpy(zero_copy_only=False)
    found = {kind: share(dropped[kinds == kind]) for kind in (*KINDS, "")}
    aimed, dirty = np.isin(kinds[dropped], row.aims), kinds[dropped] != ""
    return {**found, "all": share(dropped), "precision": share(aimed), "dirt": share(dirty), "seconds": seconds}


def share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def cell(value: float, digits: int = 1) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.{digits}f}"


def line(row: Row, results: list[dict[str, float]]) -> str:
    """A row of the table; kinds that the filter is for stand out, and precision is left out where it is for none of them."""
    mean = {key: float(np.mean([result[key] for result in results])) for key in results[0]}
    cells = [f"**{cell(mean[kind])}**" if kind in row.aims else cell(mean[kind]) for kind in KINDS]
    precision = cell(mean["precision"]) if row.aims else "-"
    return "| " + " | ".join([row.name, *cells, cell(mean[""], 2), precision, cell(mean["dirt"]), f"{mean['seconds']:.2f}"]) + " |"


def main() -> None:
    given = [word for word in sys.argv[2:] if word.startswith("model=")]
    model = given[0].removeprefix("model=") if given else None
    dataset, seeds = sys.argv[1], [int(seed) for seed in sys.argv[2:] if seed not in given] or [0]
    pools = [polluted(dataset, seed) for seed in seeds]
    pairs = [(columns(pool, rows, dataset, model), kinds) for pool, (rows, kinds) in ((pool, judged(pool)) for pool in pools)]
    titles = ["filter", *KINDS, "clean lost", "precision", "dirt", "seconds"]
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for row in ROWS:
        wants = set(getattr(importlib.import_module(f"stages.filters.{row.filter}"), "READS", ()))
        if wants <= set(pairs[0][0].column_names):
            lines.append(line(row, [measure(row, rows, kinds) for rows, kinds in pairs]))
    kinds = np.concatenate([kinds for _, kinds in pairs])
    have = ", ".join(f"{np.count_nonzero(kinds == kind)} {kind or 'clean'}" for kind in (*KINDS, ""))
    note = f"Per cent dropped of each kind. Rows judged: {have}. Seconds on {platform.processor() or platform.machine()}."
    command = " ".join(["python -m benchmarks.filters", dataset, *map(str, seeds), *given])
    page = f"# Filters: {dataset}\n\n`{command}`. {note}\n\n" + "\n".join(lines) + "\n"
    (HERE / f"filters_{dataset}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
