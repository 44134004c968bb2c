"""What each filter finds of the corruption that was planted in a pool: recall for each kind, clean rows lost,
precision.

    python -m benchmarks.filters fashion_mnist      or digits, emoji: a file of conf/dataset, with the
                                                    corruption that stands there
    python -m benchmarks.filters digits 0 1 2       seeds of the corruption; cells are their means

Each filter alone judges the training images of the raw pool, the trusted ones first, as `curate` passes them.
A cell is the share of the rows of that kind that the filter drops. Precision is the share of the dropped rows
that are of a kind that the filter is for (`aims`, in bold), corruption the share that are of any kind. The
copy of a pair is the corruption, its original is clean; they are told apart by key, because exact duplicates
share a uid. Blank images of one grey level are copies of each other. Writes benchmarks/filters_DATASET.md.

Filters that read embeddings are measured where a model is given, with `model=results/reference/models/METHOD`
at the end; those that read captions, where it is a reference of clip or siglip. fashion_mnist's and digits'
was made by `dvc repro reference` with the default params, emoji's by the same after `winnow compose
dataset=emoji experiment=captions`, in another copy of the project.

For `leakage` the original of each planted copy is held out and taken from the rows, so that the copy is a
leak. `retrieval` is not for corruption: its queries are the trusted images of the first half of the classes,
and a table of its own holds the precision and recall of these classes among the clean rows, and how much of
each kind is kept, for the first seed.
"""

import hashlib
import platform
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from winnow.config.compose import composed
from winnow.config.load import parse
from winnow.config.parse import plugin_config
from winnow.config.plugins import load_plugin
from winnow.config.schema import Params, Version
from winnow.filters import extras
from winnow.ingest.ingest import ingest_source
from winnow.pipeline.progress import track
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool

HERE = Path(__file__).resolve().parent
COPIES = ("blank", "exact_duplicate", "near_duplicate")
KINDS = ("noise", "permuted", "wrong_label", *COPIES)


@dataclass
class Row:
    """A line of the table: a filter, its settings, and the kinds of corruption that it is for."""

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
    *(
        Row("semantic_duplicate", COPIES, {"max_similarity": similarity})
        for similarity in (0.9999, 0.999, 0.995, 0.98)
    ),
    Row("label_error", ("wrong_label",)),
    Row("label_error", ("wrong_label",), {"learn_from": "reference"}),
    *(
        Row("leakage", COPIES[1:], {"near": similarity, "joined": similarity})
        for similarity in (0.9999, 0.999, 0.995)
    ),
    *(Row("alignment", ("wrong_label",), {"fraction": fraction}) for fraction in (0.6, 0.4, 0.2)),
]
RETRIEVALS = [
    Row("retrieval", (), {"neighbours": 1}),
    Row("retrieval", (), {"neighbours": 4}),
    Row("retrieval", (), {"mode": "cluster", "per_cluster": 100}),
]
# Whose methods and backbones made the model
EXPERIMENTS = {"emoji": ["captions"]}
LABELS = ["curation_policies", "+method@methods.simclr=simclr"]


def params_of(workspace: Workspace, dataset: str, experiment: str, *overrides: str) -> Params:
    return parse(composed([f"dataset={dataset}", f"experiment={experiment}", *overrides], workspace.conf))


def with_embeddings(
    workspace: Workspace, pool: Pool, rows: pa.Table, dataset: str, model: str | None
) -> pa.Table:
    """The rows with their embeddings, where a model is given; without one, filters that need them are left
    out.
    """
    if model is None:
        return rows
    from winnow.embedding.embeddings import Embeddings

    params = params_of(workspace, dataset, *EXPERIMENTS.get(dataset, LABELS))
    row_of = {key: row for row, key in enumerate(pool.table["key"].to_pylist())}
    numbers = np.array([row_of[key] for key in rows["key"].to_pylist()])
    embeddings = Embeddings(pool, Version(model=model), params, workspace, track)
    embedded = embeddings.embedding(numbers, rows)
    return embeddings.text_embedding(numbers, embedded) if embeddings.embedder.texts else embedded


def corrupted(workspace: Workspace, dataset: str, seed: int) -> Pool:
    """The pool of a dataset's config, made once."""
    datasets = params_of(workspace, dataset, "curation_policies", f"seed={seed}").datasets
    config = next(iter(datasets.pool.values()))
    name = hashlib.sha256(repr((config, seed, "filters")).encode()).hexdigest()[:12]
    folder = workspace.hidden / "benchmarks" / name
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        ingest_source(config, seed, partial, track)
        partial.rename(folder)
    return Pool.open(folder)


def judged(pool: Pool) -> tuple[pa.Table, np.ndarray]:
    """The training rows, trusted first, and the kind of corruption of each, blank text for clean."""
    trusted = pool.table["trusted"].to_numpy(zero_copy_only=False)
    train = np.flatnonzero(pool.table["split"].to_numpy(zero_copy_only=False) == "train")
    source = pool.records("sources", ["source"])["source"]
    rows = pool.table.append_column("source", source).take(train[np.argsort(~trusted[train], kind="stable")])
    corruption = pool.records("corruption", ["key", "corruption"])
    kinds = dict(zip(corruption["key"].to_pylist(), corruption["corruption"].to_pylist(), strict=True))
    return rows, np.array([kinds.get(key, "") for key in rows["key"].to_pylist()])


def applied(row: Row, rows: pa.Table, others: dict[str, pa.Table]) -> np.ndarray:
    """Which rows (n,) bool a filter keeps."""
    module = load_plugin("winnow.filters", row.filter)
    config = plugin_config(module.Config, row.filter, row.config)
    answer = module.apply(rows, config, *(others[name] for name in getattr(module, "EXTRA_TABLES", ())))
    return answer["keep"].to_numpy(zero_copy_only=False)


def measure(row: Row, rows: pa.Table, kinds: np.ndarray) -> dict[str, float]:
    """Shares dropped, of each kind, of the clean (blank text), of all; precision, corruption, seconds."""
    others = {"reference": rows.filter(rows["trusted"]), "held_out": rows.slice(0, 0)}
    if row.filter == "leakage":
        rows, kinds, others["held_out"] = leaking(rows, kinds)
    start = time.perf_counter()
    dropped = ~applied(row, rows, others)
    seconds = time.perf_counter() - start
    return {
        **{kind: share(dropped[kinds == kind]) for kind in (*KINDS, "")},
        "all": share(dropped),
        "precision": share(np.isin(kinds[dropped], row.aims)),
        "corruption": share(kinds[dropped] != ""),
        "seconds": seconds,
    }


def leaking(rows: pa.Table, kinds: np.ndarray) -> tuple[pa.Table, np.ndarray, pa.Table]:
    """The rows without the originals of the planted copies, their kinds, and the originals."""
    source, copy = rows["source"].to_numpy(zero_copy_only=False), np.isin(kinds, COPIES[1:])
    original = np.isin(source, source[copy]) & ~copy
    return rows.filter(pa.array(~original)), kinds[~original], rows.filter(pa.array(original))


def retrieved(row: Row, rows: pa.Table, kinds: np.ndarray, classes: int, present: list[str]) -> list[str]:
    """The cells of a row of the second table."""
    relevant = rows["label"].to_numpy() < classes // 2
    trusted = rows["trusted"].to_numpy(zero_copy_only=False)
    reference = rows.filter(pa.array(relevant & trusted))
    kept = applied(row, rows.filter(pa.array(~trusted)), {"reference": reference})
    relevant, kind = relevant[~trusted], kinds[~trusted]
    # An image with a wrong label still shows what it shows, and noise shows nothing: only clean rows count.
    clean = kind == ""
    cells = [kept, relevant[clean], relevant[kept & clean], kept[relevant & clean]]
    return [row.name, *(cell(share(one)) for one in (*cells, *(kept[kind == k] for k in (*present, ""))))]


def share(hits: np.ndarray) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


def cell(value: float, digits: int = 1) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.{digits}f}"


def line(row: Row, results: list[dict[str, float]], present: list[str]) -> str:
    """A row of the table; kinds that the filter is for stand out, and precision is left out where there are
    none.
    """
    mean = {key: float(np.mean([result[key] for result in results])) for key in results[0]}
    cells = [f"**{cell(mean[kind])}**" if kind in row.aims else cell(mean[kind]) for kind in present]
    precision = cell(mean["precision"]) if set(row.aims) & set(present) else "-"
    rest = [cell(mean[""], 2), precision, cell(mean["corruption"]), f"{mean['seconds']:.2f}"]
    return table_line([row.name, *cells, *rest])


def table_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def header(*titles: str) -> list[str]:
    return [table_line(list(titles)), "|---|" + "---:|" * (len(titles) - 1)]


def main() -> None:
    dataset, *words = sys.argv[1:]
    models = [word.removeprefix("model=") for word in words if word.startswith("model=")]
    seeds = [int(word) for word in words if not word.startswith("model=")] or [0]
    model, workspace = (models or [None])[0], Workspace.find()
    pools = [corrupted(workspace, dataset, seed) for seed in seeds]
    pairs = [judged(pool) for pool in pools]
    pairs = [
        (with_embeddings(workspace, pool, rows, dataset, model), kinds)
        for pool, (rows, kinds) in zip(pools, pairs, strict=True)
    ]
    kinds = np.concatenate([kinds for _, kinds in pairs])
    present = [kind for kind in KINDS if kind in kinds]
    lines = header("filter", *present, "clean lost", "precision", "corruption", "seconds")
    for row in ROWS:
        if set(extras([row.filter])[0]) <= set(pairs[0][0].column_names):
            lines.append(line(row, [measure(row, rows, kinds) for rows, kinds in pairs], present))
    if model:
        lines += ["", "What retrieval keeps, in per cent; of each kind the share that is kept:", ""]
        lines += header("filter", "kept", "share in the pool", "precision", "recall", *present, "clean")
        classes = len(pools[0].classes)
        lines += [table_line(retrieved(row, *pairs[0], classes, present)) for row in RETRIEVALS]
    have = ", ".join(f"{np.count_nonzero(kinds == kind)} {kind or 'clean'}" for kind in (*present, ""))
    where = f"Seconds on {platform.processor() or platform.machine()}."
    # Of a model's path only the part that says which it is.
    given = [f"model={'/'.join(Path(model).parts[-4:])}"] if model else []
    command = " ".join(["python -m benchmarks.filters", dataset, *map(str, seeds), *given])
    note = f"Per cent dropped of each kind. Rows judged: {have}. {where}"
    page = f"# Filters: {dataset}\n\n`{command}`. {note}\n\n" + "\n".join(lines) + "\n"
    (HERE / f"filters_{dataset}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
