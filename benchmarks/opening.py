"""What a stage does before its first picture, with ten million rows: the last table of benchmarks/loader.md.

    python -m benchmarks.opening POOL CACHE

The rows are made up: random uids, of which a version holds four fifths.
"""

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.config.schema import Engine, Params
from winnow.loading import sampler
from winnow.loading.examples import examples
from winnow.pool import uids as uid_files
from winnow.pool.parts import INDEX
from winnow.pool.pool import Pool

ROWS, ROUNDS, SIZE = 10_000_000, 5, 224


def made_up(folder: Path, count: int) -> None:
    """An index of `count` rows, and a version of four fifths of them."""
    folder.mkdir()
    (folder / "classes.json").write_text("[]")
    draw, uids = np.random.default_rng(0), []
    with pq.ParquetWriter(folder / "index.parquet", INDEX) as writer:
        for start in range(0, count, 100_000):
            size = min(100_000, count - start)
            halves = draw.integers(0, 2**64, (size, 2), dtype=np.uint64)
            digits = halves.astype(">u8").tobytes().hex()
            numbers = np.arange(start, start + size)
            columns: dict[str, object] = {field.name: pa.nulls(size, field.type) for field in INDEX}
            columns["uid"] = pa.array([digits[i : i + 32] for i in range(0, len(digits), 32)])
            columns["shard"] = pa.array(numbers // 10_000, pa.int32())
            columns["offset"] = pa.array(numbers % 10_000 * 20_000)
            columns["size"] = pa.array(np.full(size, 18_000, np.int32))
            columns["label"] = pa.array((numbers % 1000).astype(np.int32))
            writer.write_table(pa.table(columns, INDEX))
            uids.append(halves[draw.random(size) < 0.8])
    chosen = np.concatenate(uids)
    chosen = chosen[np.lexsort((chosen[:, 1], chosen[:, 0]))]
    np.save(folder / "uids.npy", chosen.view(uid_files.DTYPE)[:, 0])


def opening(folder: Path, cache: Path) -> dict[str, float]:
    """Open pool and version, and find the candidates in the middle of an epoch."""
    before = most_memory()
    start = time.perf_counter()
    pool = Pool.open(folder, cache)
    params = Params(engine=Engine(cache_gb=0))
    data = examples(pool, np.load(folder / "uids.npy", mmap_mode="r"), SIZE, params)
    step = 3 * sampler.epoch_steps(len(data), 640) + 5000
    rows = data.pixels.rows[sampler.candidates(step, 640, len(data), 0)]
    places = pool.index.shard[rows], pool.index.offset[rows]
    seconds = time.perf_counter() - start
    assert len(places[0]) == 640
    held = pool.index.nbytes / len(pool) + (data.pixels.rows.nbytes + data.labels.nbytes) / len(data)
    memory = most_memory() - before
    sizes = {"rows": len(pool), "examples": len(data)}
    return {**sizes, "seconds": seconds, "bytes": held, "memory_gb": memory}


def most_memory() -> float:
    """The peak memory of this process, mapped files included, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def openings(folder: Path) -> dict[str, dict[str, float]]:
    """Each in a process of its own: the first makes the cached index, the others find it."""
    made_up(folder / "many", ROWS)
    command = [sys.executable, "-m", "benchmarks.opening", str(folder / "many"), str(folder / "cache")]
    texts = [subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(ROUNDS + 1)]
    first, *others = [json.loads(done.stdout) for done in texts]
    return {"first": first, "again": sorted(others, key=lambda run: run["seconds"])[ROUNDS // 2]}


if __name__ == "__main__":
    print(json.dumps(opening(Path(sys.argv[1]), Path(sys.argv[2]))))
