"""Ingest as the pool grows: images/s, and the peak memory of the stage and its helper processes together.

    python -m benchmarks.ingest

The limit is bare measuring: `images.measure` (decode, hash, statistics) in one process without a pool, times
the processes. Peak memory is the largest sum of the resident memory of the stage and its helpers, sampled
every 20 ms; libraries that processes share are counted once for each process. `again` is how fast a resumed
run passes over what an earlier one stored.
"""

import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

HERE = Path(__file__).resolve().parent
SMALL = (20_000, 80_000, 200_000)
SHARD = 10_000
SIDE = 32
LARGE = {"100 megapixel jpg": "JPEG", "100 megapixel webp": "WEBP"}
COUNT = 6


def write(path: Path, pictures) -> None:
    with tarfile.open(path, "w") as tar:
        for number, (ext, data) in enumerate(pictures):
            for name, content in ((ext, data), ("txt", b"a picture of something, number %d" % number)):
                info = tarfile.TarInfo(f"{number:06d}.{name}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def encoded(pixels, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def small(count: int, folder: Path) -> None:
    for shard in range(count // SHARD):
        draw = np.random.default_rng(shard)
        noise = draw.integers(0, 256, (SHARD, SIDE // 4, SIDE // 4, 3), np.uint8)
        pictures = (("jpg", encoded(one.repeat(4, 0).repeat(4, 1), "JPEG")) for one in noise)
        write(folder / f"{shard:05d}.tar", pictures)


def large(kind: str, folder: Path) -> None:
    ramp = np.linspace(0, 255, 10_000).astype(np.uint8)
    pixels = np.empty((10_000, 10_000, 3), np.uint8)
    pixels[...] = (ramp[:, None] // 2 + ramp // 2)[..., None]
    data = encoded(pixels, kind)
    write(folder / "00000.tar", ((kind.lower(), data + bytes([number])) for number in range(COUNT)))


def child(path: str, chunk: int) -> None:
    """One ingest in this process; prints what it took."""
    from winnow.config.datasets import Dataset
    from winnow.ingest import ingest

    ingest.CHUNK_COUNT = chunk
    ingest.ALONE_CHUNKS = 1
    peak = dict.fromkeys(("together", "helper", "stage"), 0)
    threading.Thread(target=watch, args=(peak,), daemon=True).start()
    dataset = Dataset(source="webdataset", path=path)
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        counts = ingest.ingest_source(dataset, 0, Path(folder), lambda items, **_: items)
    seconds = time.perf_counter() - begin
    found = {"images": counts["ingested"], "rate": counts["ingested"] / seconds}
    sizes = {name: size / 1e6 for name, size in peak.items()}
    print(json.dumps({**found, **sizes, **limits(ingest, dataset)}))


def watch(peak: dict[str, int]) -> None:
    me = psutil.Process()
    while True:
        helpers = []
        for process in me.children(recursive=True):
            try:
                helpers.append(process.memory_info().rss)
            except psutil.NoSuchProcess:
                continue
        stage = me.memory_info().rss
        now = {"together": stage + sum(helpers), "helper": max(helpers, default=0), "stage": stage}
        peak.update({name: max(peak[name], size) for name, size in now.items()})
        time.sleep(0.02)


def limits(ingest, dataset) -> dict[str, float]:
    """Bare measuring by one process, and reading without it, images/s."""
    from winnow.ingest.process_example import Rules
    from winnow.pool import images
    from winnow.sources import webdataset

    some = list(islice(webdataset.read(dataset), 2000))
    some = some[:2] if len(some) == COUNT else some  # large ones take seconds each
    begin = time.perf_counter()
    for example in some:
        images.measure(example.image, dataset.max_pixels)
    bare = len(some) / (time.perf_counter() - begin)
    begin = time.perf_counter()
    tasks = ingest._tasks(webdataset.read(dataset), Rules(dataset, 0, [], []))
    passed = sum(1 for _ in islice(tasks, SHARD))
    return {"bare": bare, "again": passed / (time.perf_counter() - begin)}


def run(name: str, make, chunk: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder))
        command = [sys.executable, "-m", "benchmarks.ingest", folder, str(chunk)]
        done = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    print(name, found, flush=True)
    return found


def main() -> None:
    cases = {}
    for count in SMALL:
        cases[f"{count:,} of {SIDE} px"] = run(f"{count:,}", partial(small, count), 256)
    for name, kind in LARGE.items():
        cases[name] = run(name, partial(large, kind), 1)
    cores = len(os.sched_getaffinity(0))
    columns = ("pool", "images/s", "over bare measuring on as many cores", "again, images/s")
    columns += ("peak, all together", "the stage", "one helper")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, one in cases.items():
        share = one["rate"] / (one["bare"] * cores)
        sizes = " | ".join(f"{one[key]:,.0f} MB" for key in ("together", "stage", "helper"))
        rate = f"{one['rate']:,.{0 if one['rate'] > 10 else 2}f}"
        lines.append(f"| {name} | {rate} | {share:.2f} | {one['again']:,.0f} | {sizes} |")
    versions = f"Pillow {Image.__version__}, numpy {np.__version__}"
    machine = f"{platform.processor() or platform.machine()}, {cores} helpers, {versions}"
    (HERE / "ingest.json").write_text(json.dumps({"machine": machine, "cases": cases}, indent=1) + "\n")
    head = f"# Ingest as the pool grows\n\n`python -m benchmarks.ingest`: {machine}.\n\n"
    page = head + "\n".join(lines) + "\n"
    (HERE / "ingest.md").write_text(page)
    print(page)


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2])) if sys.argv[1:] else main()
