"""The same ingest by helper processes and by a local Dask cluster: the same bytes, and the time it adds.

    python -m benchmarks.scale_out

Interleaved rounds, each in a process of its own; the time of a round includes starting the helpers or the
cluster.
"""

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ingest import small

HERE = Path(__file__).resolve().parent
COUNT, ROUNDS = 20_000, 3
ENGINES = {"helper processes": None, "Dask, local cluster": "local"}


def child(path: str, cluster: str | None) -> None:
    """One ingest in this process; prints its seconds and a hash of all files."""
    from winnow.config.datasets import Dataset
    from winnow.ingest.ingest import ingest_source

    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        dataset = Dataset("webdataset", path=path)
        ingest_source(dataset, 0, Path(folder), lambda items, **_: items, cluster)
        seconds = time.perf_counter() - begin
        files = sorted(one for one in Path(folder).rglob("*") if one.is_file())
        hashes = b"".join(hashlib.sha256(one.read_bytes()).digest() for one in files)
    print(json.dumps({"seconds": seconds, "sha256": hashlib.sha256(hashes).hexdigest()}))


def main() -> None:
    found: dict[str, list[dict]] = {name: [] for name in ENGINES}
    with tempfile.TemporaryDirectory() as folder:
        small(COUNT, Path(folder))
        for _ in range(ROUNDS):
            for name, cluster in ENGINES.items():
                command = [sys.executable, "-m", "benchmarks.scale_out", folder]
                command += [cluster] if cluster else []
                done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True)
                found[name].append(json.loads(done.stdout.splitlines()[-1]))
                print(name, found[name][-1], flush=True)
    hashes = {one["sha256"] for rounds in found.values() for one in rounds}
    assert len(hashes) == 1, "the bytes depend on the engine"
    seconds = {name: [one["seconds"] for one in rounds] for name, rounds in found.items()}
    base = seconds["helper processes"]
    lines = ["| engine | images/s | time over helper processes' (range) |", "|---|---|---|"]
    for name, times in seconds.items():
        ratios = [one / other for one, other in zip(times, base, strict=True)]
        middle = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(f"| {name} | {COUNT / statistics.median(times):,.0f} | {middle} |")
    import distributed

    cores = len(os.sched_getaffinity(0))
    engine = f"{cores} worker processes, distributed {distributed.__version__}"
    machine = f"{platform.processor() or platform.machine()}, {engine}"
    notes = f"{ROUNDS} interleaved rounds, {COUNT:,} jpgs of 32 px, all files of all rounds equal by SHA-256"
    measured = {"machine": machine, "seconds": seconds}
    (HERE / "scale_out.json").write_text(json.dumps(measured, indent=1) + "\n")
    head = f"# Ingest by another engine\n\n`python -m benchmarks.scale_out`: {notes}; {machine}.\n\n"
    page = head + "\n".join(lines) + "\n"
    (HERE / "scale_out.md").write_text(page)
    print(page)


if __name__ == "__main__":
    child(sys.argv[1], next(iter(sys.argv[2:]), None)) if sys.argv[1:] else main()
