"""What each filter finds of the dirt that was planted in a pool: recall for each kind, clean rows lost, precision.

    python -m benchmarks.filters fashion_mnist      or digits, emoji: a file of conf/dataset, with the pollution that stands there
    python -m benchmarks.filters digits 0 1 2       seeds of the pollution; cells are their means

Each filter alone judges the training images of the raw pool, the trusted ones first, as `curate` hands them over. A cell is the
share of the rows of that kind that the filter drops. Precision is the share of the dropped rows that are of a kind that the filter
is for (`aims`, in bold), and dirt that of any kind. The copy of a pair is the dirt, its original is clean; they are told apart by
key, because exact duplicates share a uid. Blank images of one grey level are copies of each other. Writes
benchmarks/filters_DATASET.md.

Filters that read embeddings are measured where a model is given, with `model=results/reference/models/METHOD` at the end; those that
read captions, where it is a reference of clip or siglip. fashion_mnist's and digits' was made by `dvc repro reference` with the default
params, emoji's by the same after `winnow compose dataset=emoji experiment=captions`, in another copy of the project.

For `leakage` the original of each planted copy is held out and taken from
the rows, so that the copy is a leak. `retrieval` has nothing to do with dirt: it is asked by the trusted images of the first half of
the classes, and a table of its own says how much of what it keeps is of these classes, and how much of each kind, for the first seed.
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
    *(Row("leakage", COPIES[1:], {"near": similarity, "joined": similarity}) for similarity in (0.9999, 0.999, 0.995)),
    *(Row("alignment", ("wrong_label",), {"fraction": fraction}) for fraction in (0.6, 0.4, 0.2)),
]
RETRIEVALS = [
    Row("retrieval", (), {"neighbours": 1}),
    Row("retrieval", (), {"neighbours": 4}),
    Row("retrieval", (), {"mode": "cluster", "per_cluster": 100}),
]
EXPERIMENTS = {"emoji": "captions"}  # whose methods and backbones the model was made with


def columns(pool: Pool, rows: pa.Table, dataset: str, model: str | None) -> pa.Table:
    """The rows with their embeddings, where a model is given; filters that want them are left out otherwise."""
    if model is None:
        return rows
    from stages.training.embedding import Embeddings

    params = parse(compose.composed([f"dataset={dataset}", f"experiment={EXPERIMENTS.get(dataset, 'curation_policies')}"]))
    place = {key: row for row, key in enumerate(pool.table["key"].to_pylist())}
    numbers = np.array([place[key] for key in rows["key"].to_pylist()])
    embeddings = Embeddings(pool, Version(model=model), params, lambda items, **_: items)
    found = embeddings.embedding(numbers, rows)
    return embeddings.text_embedding(numbers, found) if embeddings.embedder.texts else found


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
    source = pq.ParquetFile(pool.folder / "sources.parquet").read(columns=["source"])["source"]
    rows = pool.table.append_column("source", source).take(train[np.argsort(~trusted[train], kind="stable")])
    dirt = pq.ParquetFile(pool.folder / "dirt.parquet").read(columns=["key", "dirt"])
    kinds = dict(zip(dirt["key"].to_pylist(), dirt["dirt"].to_pylist(), strict=True))
    return rows, np.array([kinds.get(key, "") for key in rows["key"].to_pylist()])


def measure(row: Row, rows: pa.Table, kinds: np.ndarray) -> dict[str, float]:
    """Shares dropped, of each kind, of the clean (blank text) and of all; precision, dirt and seconds."""
    module = importlib.import_module(f"stages.filters.{row.filter}")
    config = plugin_config(module.Config, row.filter, row.config)
    others = {"reference": rows.filter(rows["trusted"]), "held_out": rows.slice(0, 0)}
    if row.filter == "leakage":
        rows, kinds, others["held_out"] = leaking(rows, kinds)
    start = time.perf_counter()
    answer = module.apply(rows, config, *(others[name] for name in getattr(module, "WITH", ())))
    seconds = time.perf_counter() - start
    dropped = ~answer["keep"].to_numpy(zero_copy_only=False)
    found = {kind: share(dropped[kinds == kind]) for kind in (*KINDS, "")}
    aimed, dirty = np.isin(kinds[dropped], row.aims), kinds[dropped] != ""
    return {**found, "all": share(dropped), "precision": share(aimed), "dirt": share(dirty), "seconds": seconds}


def leaking(rows: pa.Table, kinds: np.ndarray) -> tuple[pa.Table, np.ndarray, pa.Table]:
    """The rows without the originals of the planted copies, their kinds, and the originals."""
    source, copy = rows["source"].to_numpy(zero_copy_only=False), np.isin(kinds, COPIES[1:])
    apart = np.isin(source, source[copy]) & ~copy
    return rows.filter(pa.array(~apart)), kinds[~apart], rows.filter(pa.array(apart))


def retrieved(row: Row, rows: pa.Table, kinds: np.ndarray, classes: int, present: list[str]) -> list[str]:
    """The cells of a row of the second table."""
    module = importlib.import_module(f"stages.filters.{row.filter}")
    asked = rows["label"].to_numpy() < classes // 2
    trusted = rows["trusted"].to_numpy(zero_copy_only=False)
    answer = module.apply(
        rows.filter(pa.array(~trusted)), plugin_config(module.Config, row.filter, row.config), rows.filter(pa.array(asked & trusted))
    )
    kept, of, kind = answer["keep"].to_numpy(zero_copy_only=False), asked[~trusted], kinds[~trusted]
    # A picture whose label was moved still shows what it shows, and noise shows nothing: only clean rows tell the class.
    true, clean = of & (kind == ""), kind == ""
    cells = [cell(share(kept)), cell(share(of[clean])), cell(share(of[kept & clean])), cell(share(kept[true]))]
    return [row.name, *cells, *(cell(share(kept[kind == one])) for one in (*present, ""))]


def share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def cell(value: float, digits: int = 1) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.{digits}f}"


def line(row: Row, results: list[dict[str, float]], present: list[str]) -> str:
    """A row of the table; kinds that the filter is for stand out, and precision is left out where it is for none that is there."""
    mean = {key: float(np.mean([result[key] for result in results])) for key in results[0]}
    cells = [f"**{cell(mean[kind])}**" if kind in row.aims else cell(mean[kind]) for kind in present]
    precision = cell(mean["precision"]) if set(row.aims) & set(present) else "-"
    return "| " + " | ".join([row.name, *cells, cell(mean[""], 2), precision, cell(mean["dirt"]), f"{mean['seconds']:.2f}"]) + " |"


def main() -> None:
    given = [word for word in sys.argv[2:] if word.startswith("model=")]
    model = given[0].removeprefix("model=") if given else None
    dataset, seeds = sys.argv[1], [int(seed) for seed in sys.argv[2:] if seed not in given] or [0]
    pools = [polluted(dataset, seed) for seed in seeds]
    pairs = [(columns(pool, rows, dataset, model), kinds) for pool, (rows, kinds) in ((pool, judged(pool)) for pool in pools)]
    kinds = np.concatenate([kinds for _, kinds in pairs])
    present = [kind for kind in KINDS if kind in kinds]
    titles = ["filter", *present, "clean lost", "precision", "dirt", "seconds"]
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for row in ROWS:
        wants = set(getattr(importlib.import_module(f"stages.filters.{row.filter}"), "READS", ()))
        if wants <= set(pairs[0][0].column_names):
            lines.append(line(row, [measure(row, rows, kinds) for rows, kinds in pairs], present))
    if model:
        titles = ["filter", "kept", "of these classes, pool", "of these classes, kept", "of them kept", *present, "clean"]
        lines += ["", "What retrieval keeps, in per cent; the classes of clean rows, and of each kind what is kept:", ""]
        lines += ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
        lines += [f"| {' | '.join(retrieved(row, *pairs[0], len(pools[0].classes), present))} |" for row in RETRIEVALS]
    have = ", ".join(f"{np.count_nonzero(kinds == kind)} {kind or 'clean'}" for kind in (*present, ""))
    note = f"Per cent dropped of each kind. Rows judged: {have}. Seconds on {platform.processor() or platform.machine()}."
    given = [f"model={'/'.join(Path(word).parts[-4:])}" for word in given]  # the folder of another run is nobody's business
    command = " ".join(["python -m benchmarks.filters", dataset, *map(str, seeds), *given])
    page = f"# Filters: {dataset}\n\n`{command}`. {note}\n\n" + "\n".join(lines) + "\n"
    (HERE / f"filters_{dataset}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
