"""Semantic deduplication, hierarchical k-means and retrieval on 100,000 and 1,000,000 made-up embeddings,
against plain faiss.

    python -m benchmarks.clusters [ROWS ...]

Each run is a process of its own, ours and the peer's in turn; seconds are without imports and with the
reading of the file, the peak is VmHWM of the whole process, so mapped pages of the file count. The peers are
in benchmarks/clusters_peers.py: `faiss.Kmeans` of sqrt(n) clusters, products within each cluster,
`faiss.IndexFlatIP`. Ours runs with its part cache, so it pays for being able to resume after a kill.
Hierarchical k-means is measured against faiss without resampling, and once as the filter `balanced` ships,
with ten steps of resampling a level, which faiss does not have.

The embeddings are a mixture of 1,000 Gaussians on the sphere, 256 numbers each, of log-normal sizes; two rows
of one Gaussian have a cosine of about 0.5. 5 % of the rows are planted near copies (cosine 0.97 to 0.999 to a
row of the mixture) and 5 % are hard negatives (0.88 to 0.92). The threshold is 0.95. Of deduplication, recall
is the share of the planted pairs of which a row was dropped, precision the share of the dropped rows that are
of a planted pair; of retrieval by clusters, precision is the share of the kept rows that are of the Gaussians
of the queries.
"""

import json
import math
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import clusters_peers
from benchmarks.clusters_peers import NEIGHBOURS, PER_CLUSTER, THRESHOLD, WIDTH, levels

HERE = Path(__file__).resolve().parent
GAUSSIANS, QUERIES = 1000, 1000
ROUNDS = {100_000: 3, 1_000_000: 1}
Answer = dict[str, float]


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def beside(rows: np.ndarray, least: float, most: float, rng: np.random.Generator) -> np.ndarray:
    """Rows of a cosine between least and most to the rows given."""
    away = rng.standard_normal(rows.shape, dtype=np.float32)
    away = unit(away - (away * rows).sum(1, keepdims=True) * rows)
    cosine = rng.uniform(least, most, (len(rows), 1)).astype(np.float32)
    return cosine * rows + np.sqrt(1 - cosine**2) * away


def make(folder: Path, count: int) -> None:
    """The embeddings, where each came from (Gaussian), the planted pairs and the queries."""
    rng = np.random.default_rng(0)
    centres = unit(rng.standard_normal((GAUSSIANS, WIDTH), dtype=np.float32))
    weights = rng.lognormal(0, 1, GAUSSIANS)
    planted = count // 20
    source = rng.choice(GAUSSIANS, count - 2 * planted, p=weights / weights.sum())
    shuffled = rng.permutation(count)
    matrix = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (count, WIDTH))
    gaussian, plain = np.empty(count, np.int32), shuffled[: len(source)]
    for a in range(0, len(source), 65_536):
        part = source[a : a + 65_536]
        noise = rng.standard_normal((len(part), WIDTH), dtype=np.float32) / WIDTH**0.5
        matrix[plain[a : a + len(part)]] = unit(centres[part] + noise)
    gaussian[plain] = source
    origins = rng.choice(plain, 2 * planted, replace=False).reshape(2, planted)
    copies = shuffled[len(source) :].reshape(2, planted)
    for rows, of, least, most in zip(copies, origins, (0.97, 0.88), (0.999, 0.92), strict=True):
        matrix[rows], gaussian[rows] = beside(matrix[of], least, most, rng), gaussian[of]
    np.save(folder / "pairs.npy", np.stack([origins[0], copies[0]], 1))
    np.save(folder / "gaussian.npy", gaussian)
    # The queries are of a tenth of the Gaussians, as a small reference would be.
    few = rng.choice(GAUSSIANS // 10, QUERIES)
    noise = rng.standard_normal((QUERIES, WIDTH), dtype=np.float32) / WIDTH**0.5
    np.save(folder / "queries.npy", unit(centres[few] + noise))


def ours_dedup(folder: Path, cache: Any) -> np.ndarray:
    from winnow.clustering.pairs import distinct

    return distinct(np.load(folder / "x.npy", mmap_mode="r"), THRESHOLD, cache=cache)


def ours_hierarchy(folder: Path, cache: Any) -> np.ndarray:
    from winnow.clustering.hierarchy import Level, hierarchy, sample

    x = np.load(folder / "x.npy", mmap_mode="r")
    found = hierarchy(x, [Level(k) for k in levels(len(x))], 25, 0, cache)
    np.save(folder / "similarities.npy", found[0].similarities)
    return sample([level.assignment for level in found], len(x) // 10, np.arange(len(x)), 0)


def ours_balanced(folder: Path, cache: Any) -> np.ndarray:
    from winnow.clustering.hierarchy import hierarchy, sample
    from winnow.filters.balanced import Config, default_levels

    x, config = np.load(folder / "x.npy", mmap_mode="r"), Config()
    found = hierarchy(x, default_levels(len(x)), config.iterations, 0, cache)
    np.save(folder / "similarities.npy", found[0].similarities)
    return sample([level.assignment for level in found], len(x) // 10, np.arange(len(x)), 0)


def ours_neighbours(folder: Path, cache: Any) -> np.ndarray:
    from winnow.clustering.neighbours import nearest

    x = np.load(folder / "x.npy", mmap_mode="r")
    return nearest(x, np.load(folder / "queries.npy"), NEIGHBOURS, cache)[0]


def ours_by_cluster(folder: Path, cache: Any) -> np.ndarray:
    from winnow.filters.retrieval import Config, by_cluster

    x, config = np.load(folder / "x.npy", mmap_mode="r"), Config(mode="cluster", per_cluster=PER_CLUSTER)
    kept = np.zeros(len(x), bool)
    kept[by_cluster(x, np.load(folder / "queries.npy"), config, cache)] = True
    return kept


def judge_dedup(folder: Path, kept: np.ndarray, _: str) -> Answer:
    pairs = np.load(folder / "pairs.npy")
    dropped = np.flatnonzero(~kept)
    precision = np.isin(dropped, pairs).mean()
    return {"recall": float((~kept)[pairs].any(1).mean()), "precision": float(precision)}


def judge_hierarchy(folder: Path, kept: np.ndarray, _: str) -> Answer:
    gaussian = np.load(folder / "gaussian.npy")
    return {
        "mean cosine to centroid": float(np.load(folder / "similarities.npy").mean()),
        "even share, pool": evenness(gaussian),
        "even share, sample": evenness(gaussian[kept]),
    }


def evenness(labels: np.ndarray) -> float:
    """exp(entropy) over the number of Gaussians: 1 if all are as frequent."""
    share = np.bincount(labels, minlength=GAUSSIANS) / len(labels)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()) / GAUSSIANS)


def judge_neighbours(folder: Path, rows: np.ndarray, side: str) -> Answer:
    np.save(folder / f"rows-{side}.npy", rows)
    pairs = zip(rows, np.load(folder / "rows-ours.npy"), strict=True)
    return {"same as ours": float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in pairs]))}


def judge_by_cluster(folder: Path, kept: np.ndarray, _: str) -> Answer:
    relevant = np.load(folder / "gaussian.npy") < GAUSSIANS // 10
    return {
        "kept": float(kept.sum()),
        "precision": float(relevant[kept].mean()),
        "share in the pool": float(relevant.mean()),
    }


Run = Callable[[Path, Any], np.ndarray]
TASKS: dict[str, tuple[Run, Run, Callable[[Path, np.ndarray, str], Answer]]] = {
    "semantic deduplication": (ours_dedup, clusters_peers.dedup, judge_dedup),
    "hierarchical k-means": (ours_hierarchy, clusters_peers.hierarchy, judge_hierarchy),
    "hierarchical k-means, resampled": (ours_balanced, clusters_peers.hierarchy, judge_hierarchy),
    "retrieval, neighbours": (ours_neighbours, clusters_peers.neighbours, judge_neighbours),
    "retrieval, clusters": (ours_by_cluster, clusters_peers.by_cluster, judge_by_cluster),
}
NO_PEER = {"hierarchical k-means, resampled"}


def child(task: str, side: str, folder: Path) -> None:
    """Run one side of one task and print what it took."""
    import faiss  # noqa: F401  # not timed

    from winnow.clustering.part_cache import PartCache
    from winnow.filters import retrieval  # noqa: F401

    with tempfile.TemporaryDirectory(dir=folder) as parts:
        start = time.perf_counter()
        answer = TASKS[task][side == "peer"](folder, PartCache(Path(parts)))
        seconds = time.perf_counter() - start
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1e6  # type: ignore[index]
    print(json.dumps({"seconds": seconds, "gb": peak, **TASKS[task][2](folder, answer, side)}))


def measure(count: int) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run([sys.executable, "-m", "benchmarks.clusters", "make", name, str(count)], check=True)
        for task in TASKS:
            runs: dict[str, list[dict[str, Any]]] = {"ours": [], "peer": []}
            for _ in range(ROUNDS.get(count, 1)):
                for side in runs:
                    if side == "peer" and task in NO_PEER:
                        continue
                    command = [sys.executable, "-m", "benchmarks.clusters", "child", task, side, str(folder)]
                    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    runs[side].append(json.loads(out.splitlines()[-1]))
                    print(f"  {count} {task}, {side}: {runs[side][-1]}", flush=True)
            found[task] = {side: summary(of) for side, of in runs.items() if of}
            if runs["peer"]:
                pairs = zip(runs["ours"], runs["peer"], strict=True)
                ratios = [ours["seconds"] / peer["seconds"] for ours, peer in pairs]
                spread = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
                found[task]["time over peer's"] = spread
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    return {
        **runs[-1],
        "seconds": statistics.median(seconds),
        "least": min(seconds),
        "gb": max(run["gb"] for run in runs),
    }


def page(found: dict[str, dict[str, dict[str, Any]]], facts: str) -> str:
    lines = [
        "| rows | task | side | seconds | peak GB | time over peer's (range) | quality |",
        "|---|---|---|---|---|---|---|",
    ]
    for count, tasks in found.items():
        for task, sides in tasks.items():
            ratio = sides.get("time over peer's")
            for side in ("ours", "peer"):
                start = f"| {int(count):,} | {task} | {side}"
                if side not in sides:
                    continue
                run, times = sides[side], ""
                names = [name for name in run if name not in ("seconds", "least", "gb")]
                quality = ", ".join(f"{name} {run[name]:.4g}" for name in names)
                if ratio and side == "ours":
                    times = f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})"
                lines.append(f"{start} | {run['seconds']:.1f} | {run['gb']:.2f} | {times} | {quality} |")
    if len(found) > 1:
        lines += ["", growth(found)]
    return f"# Clusters and neighbours of embeddings\n\n{facts}\n\n" + "\n".join(lines) + "\n"


def growth(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    (few, small), *_, (many, large) = found.items()
    width = math.log(int(many) / int(few))
    both = [(task, side) for task in small for side in ("ours", "peer") if side in large[task]]
    steps = [
        f"{task}, {side}: {math.log(large[task][side]['least'] / small[task][side]['least']) / width:.2f}"
        for task, side in both
    ]
    return f"Growth exponent of the least time from {int(few):,} to {int(many):,} rows: {'; '.join(steps)}."


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        return child(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    if sys.argv[1:2] == ["make"]:
        return make(Path(sys.argv[2]), int(sys.argv[3]))
    found = {str(count): measure(count) for count in map(int, sys.argv[1:] or ROUNDS)}
    import faiss

    versions = f"faiss {faiss.__version__}, numpy {np.__version__}"
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {versions}"
    rounds = ", ".join(f"{ROUNDS.get(int(count), 1)} at {int(count):,} rows" for count in found)
    facts = f"`{' '.join(['python -m benchmarks.clusters', *sys.argv[1:]])}`: {machine}; rounds: {rounds}"
    (HERE / "clusters.json").write_text(json.dumps({"facts": facts, **found}, indent=1) + "\n")
    (HERE / "clusters.md").write_text(page(found, facts + "."))
    print(page(found, facts + "."))


if __name__ == "__main__":
    main()
