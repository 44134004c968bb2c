"""Semantic deduplication, hierarchical k-means and retrieval on 100,000 and 1,000,000 made-up embeddings, against plain faiss.

    python -m benchmarks.clusters [ROWS ...]

Each run is a process of its own, ours and the peer's in turn; seconds are without imports and with the reading of the file, the
peak is VmHWM of the whole process, so mapped pages of the file count. The peer is the script that a person would write: the file in
memory, `faiss.Kmeans` with its defaults and sqrt(n) clusters, products within each cluster, `faiss.IndexFlatIP`. Ours runs with its
work folder, so it pays for being able to go on after a kill.

The embeddings are a mixture of 1,000 Gaussians on the sphere, 256 numbers each, of log-normal sizes; two rows of one Gaussian have
a cosine of about 0.5. 5 % of the rows are planted near copies (cosine 0.97 to 0.999 to a row of the mixture) and 5 % are hard negatives
(0.88 to 0.92). The threshold is 0.95. Recall: of the planted pairs, those of which a row went; precision: of the rows that went,
those of a planted pair.
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

HERE = Path(__file__).resolve().parent
WIDTH, GAUSSIANS, THRESHOLD, QUERIES, NEIGHBOURS, PER_CLUSTER = 256, 1000, 0.95, 1000, 32, 200
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
    place, matrix = rng.permutation(count), np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (count, WIDTH))
    gaussian, plain = np.empty(count, np.int32), place[: len(source)]
    for a in range(0, len(source), 65_536):
        part = source[a : a + 65_536]
        noise = rng.standard_normal((len(part), WIDTH), dtype=np.float32) / WIDTH**0.5
        matrix[plain[a : a + len(part)]] = unit(centres[part] + noise)
    gaussian[plain] = source
    origins = rng.choice(plain, 2 * planted, replace=False).reshape(2, planted)
    copies = place[len(source) :].reshape(2, planted)
    for rows, of, least, most in zip(copies, origins, (0.97, 0.88), (0.999, 0.92), strict=True):
        matrix[rows], gaussian[rows] = beside(matrix[of], least, most, rng), gaussian[of]
    np.save(folder / "pairs.npy", np.stack([origins[0], copies[0]], 1))
    np.save(folder / "gaussian.npy", gaussian)
    # What is searched for is a tenth of the Gaussians, as a small reference would be.
    few = rng.choice(GAUSSIANS // 10, QUERIES)
    np.save(folder / "queries.npy", unit(centres[few] + rng.standard_normal((QUERIES, WIDTH), dtype=np.float32) / WIDTH**0.5))


def levels(count: int) -> list[int]:
    return [count // 100, count // 1000, count // 10_000]


def ours_dedup(folder: Path, work: Any) -> np.ndarray:
    from stages.filters._pairs import distinct

    return distinct(np.load(folder / "x.npy", mmap_mode="r"), THRESHOLD, work=work)


def peer_dedup(folder: Path, _: Any) -> np.ndarray:
    x = np.load(folder / "x.npy")
    kept = np.ones(len(x), bool)
    for rows in members(clustered(x, int(len(x) ** 0.5))[0]):
        kept[rows] = ~(np.triu(x[rows] @ x[rows].T, 1) >= THRESHOLD).any(0)
    return kept


def ours_hierarchy(folder: Path, work: Any) -> np.ndarray:
    from stages.filters._hierarchy import Level, hierarchy, sample

    x = np.load(folder / "x.npy", mmap_mode="r")
    found = hierarchy(x, [Level(k) for k in levels(len(x))], 25, 0, work)
    np.save(folder / "fits.npy", found[0].fits)
    return sample([level.owner for level in found], len(x) // 10, np.arange(len(x)), 0)


def peer_hierarchy(folder: Path, _: Any) -> np.ndarray:
    from stages.filters._hierarchy import sample  # faiss has no such thing; the time is the k-means

    x = np.load(folder / "x.npy")
    points, owners = x, []
    for k in levels(len(x)):
        owner, points_above = clustered(points, k, spherical=True)
        if not owners:
            np.save(folder / "fits.npy", np.einsum("nd,nd->n", x, points_above[owner]))
        owners.append(owner)
        points = points_above
    return sample(owners, len(x) // 10, np.arange(len(x)), 0)


def ours_neighbours(folder: Path, work: Any) -> np.ndarray:
    from stages.filters._neighbours import nearest

    return nearest(np.load(folder / "x.npy", mmap_mode="r"), np.load(folder / "queries.npy"), NEIGHBOURS, work)[0]


def peer_neighbours(folder: Path, _: Any) -> np.ndarray:
    import faiss

    index = faiss.IndexFlatIP(WIDTH)
    index.add(np.load(folder / "x.npy"))
    return index.search(np.load(folder / "queries.npy"), NEIGHBOURS)[1]


def ours_by_cluster(folder: Path, work: Any) -> np.ndarray:
    from stages.filters.retrieval import Config, by_cluster

    x = np.load(folder / "x.npy", mmap_mode="r")
    found = by_cluster(x, np.load(folder / "queries.npy"), Config(mode="cluster", per_cluster=PER_CLUSTER), work)
    kept = np.zeros(len(x), bool)
    kept[found] = True
    return kept


def peer_by_cluster(folder: Path, _: Any) -> np.ndarray:
    x = np.load(folder / "x.npy")
    owner, centroids = clustered(x, int(len(x) ** 0.5))
    asked = np.bincount((np.load(folder / "queries.npy") @ centroids.T).argmax(1), minlength=len(centroids))
    kept, rng = np.zeros(len(x), bool), np.random.default_rng(0)
    for rows in members(owner):
        if asked[owner[rows[0]]] > 3:
            kept[rng.permutation(rows)[:PER_CLUSTER]] = True
    return kept


def clustered(x: np.ndarray, k: int, **more: Any) -> tuple[np.ndarray, np.ndarray]:
    import faiss

    kmeans = faiss.Kmeans(x.shape[1], k, seed=0, **more)
    kmeans.train(x)
    return kmeans.index.search(x, 1)[1][:, 0], kmeans.centroids


def members(owner: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(owner[order])) + 1)


def judge_dedup(folder: Path, kept: np.ndarray, _: str) -> Answer:
    pairs = np.load(folder / "pairs.npy")
    gone = np.flatnonzero(~kept)
    return {"recall": float((~kept)[pairs].any(1).mean()), "precision": float(np.isin(gone, pairs).mean())}


def judge_hierarchy(folder: Path, kept: np.ndarray, _: str) -> Answer:
    gaussian = np.load(folder / "gaussian.npy")
    return {
        "mean cosine to centroid": float(np.load(folder / "fits.npy").mean()),
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
    other = folder / "rows-ours.npy"
    return {"same as ours": float(np.mean([len(np.intersect1d(a, b)) / len(a) for a, b in zip(rows, np.load(other), strict=True)]))}


def judge_by_cluster(folder: Path, kept: np.ndarray, _: str) -> Answer:
    wanted = np.load(folder / "gaussian.npy") < GAUSSIANS // 10
    return {"kept": float(kept.sum()), "of what is asked for": float(wanted[kept].mean()), "in the pool": float(wanted.mean())}


Run = Callable[[Path, Any], np.ndarray]
TASKS: dict[str, tuple[Run, Run, Callable[[Path, np.ndarray, str], Answer]]] = {
    "semantic deduplication": (ours_dedup, peer_dedup, judge_dedup),
    "hierarchical k-means": (ours_hierarchy, peer_hierarchy, judge_hierarchy),
    "retrieval, neighbours": (ours_neighbours, peer_neighbours, judge_neighbours),
    "retrieval, clusters": (ours_by_cluster, peer_by_cluster, judge_by_cluster),
}
# 10,000 clusters of 1,000,000 rows by faiss.Kmeans' defaults are 130 TFLOP, an hour or more on two cores.
TOO_LONG = {("hierarchical k-means", "peer", 1_000_000)}


def child(task: str, side: str, folder: Path) -> None:
    """Run one side of one task and print what it took."""
    import faiss  # noqa: F401  # not timed

    from stages.filters import _hierarchy, _neighbours, _pairs, retrieval  # noqa: F401
    from stages.filters._work import Work

    with tempfile.TemporaryDirectory(dir=folder) as kept:
        start = time.perf_counter()
        answer = TASKS[task][side == "peer"](folder, Work(Path(kept)))
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
                    if (task, side, count) in TOO_LONG:
                        continue
                    command = [sys.executable, "-m", "benchmarks.clusters", "child", task, side, str(folder)]
                    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
                    runs[side].append(json.loads(out.splitlines()[-1]))
                    print(f"  {count} {task}, {side}: {runs[side][-1]}", flush=True)
            found[task] = {side: summary(of) for side, of in runs.items() if of}
            if runs["peer"]:
                ratios = [a["seconds"] / b["seconds"] for a, b in zip(runs["ours"], runs["peer"], strict=True)]
                found[task]["time over peer's"] = {"median": statistics.median(ratios), "least": min(ratios), "most": max(ratios)}
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    seconds = [run["seconds"] for run in runs]
    return {**runs[-1], "seconds": statistics.median(seconds), "least": min(seconds), "gb": max(run["gb"] for run in runs)}


def page(found: dict[str, dict[str, dict[str, Any]]], facts: str) -> str:
    lines = ["| rows | task | side | seconds | peak GB | time over peer's (range) | quality |", "|---|---|---|---|---|---|---|"]
    for count, tasks in found.items():
        for task, sides in tasks.items():
            ratio = sides.get("time over peer's")
            for side in ("ours", "peer"):
                if side not in sides:
                    lines.append(f"| {int(count):,} | {task} | {side} | not run | | | |")
                    continue
                of = sides[side]
                quality = ", ".join(f"{key} {value:.4g}" for key, value in of.items() if key not in ("seconds", "least", "gb"))
                times = f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})" if ratio and side == "ours" else ""
                lines.append(f"| {int(count):,} | {task} | {side} | {of['seconds']:.1f} | {of['gb']:.2f} | {times} | {quality} |")
    if len(found) > 1:
        lines += ["", growth(found)]
    return f"# Clusters and neighbours of embeddings\n\n{facts}\n\n" + "\n".join(lines) + "\n"


def growth(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    (few, small), *_, (many, large) = found.items()
    width = math.log(int(many) / int(few))
    both = [(task, side) for task in small for side in ("ours", "peer") if side in large[task]]
    steps = [f"{task}, {side}: {math.log(large[task][side]['least'] / small[task][side]['least']) / width:.2f}" for task, side in both]
    return f"Growth exponent of the least time from {int(few):,} to {int(many):,} rows: " + "; ".join(steps) + "."


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        return child(sys.argv[2], sys.argv[3], Path(sys.argv[4]))
    if sys.argv[1:2] == ["make"]:
        return make(Path(sys.argv[2]), int(sys.argv[3]))
    found = {str(count): measure(count) for count in map(int, sys.argv[1:] or ROUNDS)}
    import faiss

    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, faiss {faiss.__version__}, numpy {np.__version__}"
    rounds = ", ".join(f"{ROUNDS.get(int(count), 1)} at {int(count):,} rows" for count in found)
    facts = f"`{' '.join(['python -m benchmarks.clusters', *sys.argv[1:]])}`: {machine}; rounds: {rounds}"
    (HERE / "clusters.json").write_text(json.dumps({"facts": facts, **found}, indent=1) + "\n")
    (HERE / "clusters.md").write_text(page(found, facts + "."))
    print(page(found, facts + "."))


if __name__ == "__main__":
    main()
