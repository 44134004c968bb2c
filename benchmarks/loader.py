"""Images a second of the loader against its peers, of a random view, and at low resolution.

    uv pip install --target PEERS --no-deps litdata==0.2.76 obstore tifffile zstd
    PYTHONPATH=PEERS python -m benchmarks.loader

All loaders read the same bytes (benchmarks/loader_peers.py), with two workers, in batches of 128 and in
random order (webdataset: a buffer of 1,000, two shards a worker), and give uint8 batches of (128, 3, 224,
224), resized bicubic with antialiasing, from jpgs that all of them decode in full. ImageFolder and webdataset
decode with Pillow, as `Pixels` does; litdata decodes with libjpeg-turbo and resizes with torch, as
`Pixels(fast=True)` does where it decodes in full ("fast"). Where libjpeg may scale while it decodes, as
`run.fast_decode` lets it, stands in a table of its own: no peer does that. Each round runs all of them, one
after the other, and starts with another one; ratios are medians of the rounds' own.

The view and the low resolution are measured with `fast`, where reading weighs most. Cold: the shards are
evicted from the page cache before each pass. The opening of ten million rows is benchmarks/opening.py.
"""

import json
import os
import platform
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.loader_peers import (
    BATCH,
    PICTURES,
    SIZE,
    STORED,
    WORKERS,
    image_folder,
    lay_out,
    lit,
    webdataset,
)
from benchmarks.opening import ROWS, openings
from winnow.loading import sampler
from winnow.loading.pixels import Pixels, square_fast
from winnow.pool import images, uids
from winnow.pool.pool import Pool

HERE = Path(__file__).resolve().parent
ROUNDS = 5
Loaders = dict[str, Callable[[int], Iterator[Tensor]]]


class Whole(Pixels):
    """`fast`, but every jpg decoded in full: the very work that litdata and torchvision's filter do."""

    def _read(self, index: int) -> np.ndarray:
        row = int(self.rows[index])
        data = self.pool.read(row)
        assert uids.of(data) == self.pool.index.uid(row)
        return square_fast(images.decode_scaled(data, STORED), self.size)


def ours(pixels: Pixels, seed: int, size: int = BATCH) -> Iterator[Tensor]:
    """An epoch with two batches prefetched, as by the peers' workers; the training loop prefetches one."""
    epoch = range(sampler.epoch_steps(len(pixels), size))
    steps = [sampler.candidates(step, size, len(pixels), seed) for step in epoch]
    ahead = deque(pixels.get_async(indices) for indices in steps[:2])
    for indices in [*steps[2:], None, None]:
        yield ahead.popleft().result()
        if indices is not None:
            ahead.append(pixels.get_async(indices))


def rate(batches: Iterator[Tensor]) -> float:
    """Images a second, the start of the workers included."""
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch)
    return count / (time.perf_counter() - start)


def interleaved(loaders: Loaders, before: Callable[[], None] = lambda: None) -> dict[str, list[float]]:
    """Images a second of each loader in each round; a first round that fills caches does not count."""
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    names = list(loaders)
    for turn in range(ROUNDS + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            before()
            found = rate(loaders[name](turn))
            if turn:
                rates[name].append(found)
        print("  " + ", ".join(f"{name} {ones[-1]:.0f}" for name, ones in rates.items() if ones), flush=True)
    return rates


def summary(rates: dict[str, list[float]], against: str) -> dict[str, dict[str, float]]:
    """Medians, and the median, least and most of the rounds' ratios to one of them."""
    found = {}
    for name, ones in rates.items():
        ratios = [own / its for own, its in zip(ones, rates[against], strict=True)]
        found[name] = {"images_s": statistics.median(ones), "ratio": statistics.median(ratios)}
        found[name] |= {"least": min(ratios), "most": max(ratios)}
    return found


def peers(folder: Path, pool: Pool) -> dict[str, dict[str, float]]:
    rows = np.arange(len(pool))
    rates = interleaved(
        {
            "Pixels": lambda seed: ours(Pixels(pool, rows, SIZE, 0, WORKERS), seed),
            "Pixels, fast": lambda seed: ours(Whole(pool, rows, SIZE, 0, WORKERS), seed),
            "ImageFolder + DataLoader": lambda seed: image_folder(folder, seed),
            "webdataset": lambda seed: webdataset(folder, seed),
            "litdata": lambda seed: lit(folder, seed),
        }
    )
    others = ("ImageFolder + DataLoader", "webdataset", "litdata")
    return summary(rates, max(others, key=lambda name: statistics.median(rates[name])))


def views(pool: Pool) -> dict[str, dict[str, dict[str, float]]]:
    """A pass over a random fifth against a pass over everything."""
    rows = np.arange(len(pool))
    fifth = np.sort(np.random.default_rng(0).choice(rows, len(rows) // 5, replace=False))
    passes = {"everything": rows, "a random fifth": fifth}
    opened = {name: Pixels(pool, some, SIZE, 0, WORKERS, fast=True) for name, some in passes.items()}
    loaders: Loaders = {name: partial(ours, pixels) for name, pixels in opened.items()}

    def cool() -> None:
        for path in (pool.folder / "shards").glob("*.tar"):
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    os.sync()
    return {
        kind: summary(interleaved(loaders, before), "everything")
        for kind, before in {"warm": lambda: None, "cold": cool}.items()
    }


def scaled(pool: Pool, size: int) -> dict[str, dict[str, float]]:
    """Decoded in full, and scaled while it is decoded."""
    rows = np.arange(len(pool))
    loaders: Loaders = {
        "decoded whole, Pillow": lambda seed: ours(Pixels(pool, rows, size, 0, WORKERS), seed),
        "decoded whole, fast": lambda seed: ours(Whole(pool, rows, size, 0, WORKERS), seed),
        "scaled": lambda seed: ours(Pixels(pool, rows, size, 0, WORKERS, fast=True), seed),
    }
    return summary(interleaved(loaders), "decoded whole, Pillow")


def page(found: dict[str, dict[str, dict[str, float]]]) -> str:
    processor = platform.processor() or platform.machine()
    machine = f"{processor}, {os.cpu_count()} cores, torch {torch.__version__}"
    measured = f"medians of {ROUNDS} interleaved rounds; {machine}."
    lines = [f"# The loader\n\n`python -m benchmarks.loader`: {measured}"]
    titles = {
        "peers": f"{PICTURES} jpgs of {STORED} px to {SIZE} px, {WORKERS} workers; ratios to the best peer",
        "scaled": f"Scaled while decoded (`run.fast_decode`), to {SIZE} px",
        "warm": "A random fifth of the pool against all of it, page cache warm",
        "cold": "The same, page cache emptied before each pass",
        "low_resolution": f"Scaled while decoded (`run.fast_decode`), to {STORED // 4} px, a quarter",
    }
    for key, title in titles.items():
        lines += [f"\n## {title}\n", "| loader | images/s | ratio (range) |", "|---|---|---|"]
        for name, value in found[key].items():
            ratio = f"{value['ratio']:.2f} ({value['least']:.2f} to {value['most']:.2f})"
            lines.append(f"| {name} | {value['images_s']:.0f} | {ratio} |")
    lines += [f"\n## Opening {ROWS:,} rows in the middle of an epoch\n"]
    lines += ["| | seconds | bytes an example | memory, GB |", "|---|---|---|---|"]
    for name, value in found["opening"].items():
        lines.append(f"| {name} | {value['seconds']:.2f} | {value['bytes']:.0f} | {value['memory_gb']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder)
        pool = Pool.open(folder / "pool")
        found = {
            "peers": peers(folder, pool),
            "scaled": scaled(pool, SIZE),
            **views(pool),
            "low_resolution": scaled(pool, STORED // 4),
            "opening": openings(folder),
        }
    (HERE / "loader.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "loader.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
