"""Pictures a second of the loader against its peers, of a random view, at low resolution; and opening ten million rows.

    uv pip install --target PEERS --no-deps litdata==0.2.76 obstore tifffile zstd
    PYTHONPATH=PEERS python -m benchmarks.loader

The pictures are crops of scikit-learn's two photographs, of 200 to 427 px a side, mirrored and lightened at random, brought to
256 px and encoded as jpg of quality 90: real texture at a real size of file (about 20 kB), but no data set. All loaders read the
same bytes, with two workers, in batches of 128 and in random order (webdataset: a buffer of 1,000), and give uint8 batches of
(128, 3, 224, 224), resized bicubic with antialiasing. ImageFolder and webdataset decode with Pillow, as `Pixels` does; litdata
decodes with libjpeg-turbo and resizes with torch, as `Pixels(fast=True)` does where it decodes whole ("fast, decoded whole"; with
"fast", libjpeg makes 224 pixels of 256 itself). Each round runs all of them, one after the other, and starts with another one;
ratios are medians of the rounds' own.

The view and the low resolution are measured with `fast`, where reading weighs most. Cold: the shards are taken out of the page cache
before each pass. The ten million rows are made up: random uids, of which a version holds four fifths.
"""

import io
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from stages.data import images, index, order
from stages.data import uids as uid_files
from stages.data.loader import Pixels, square_fast
from stages.data.pool import INDEX, Pool
from stages.data.pool_writer import PoolWriter
from stages.params import Run
from stages.sources import Example
from stages.training.examples import examples

HERE = Path(__file__).resolve().parent
PICTURES, STORED, SIZE, BATCH, WORKERS, ROUNDS = 4096, 256, 224, 128, 2, 5
ROWS = 10_000_000
Loaders = dict[str, Callable[[int], Iterator[Tensor]]]
CLASSES = [f"class {i}" for i in range(8)]


def photographs(count: int) -> Iterator[bytes]:
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    draw = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(draw.integers(200, min(photo.size) + 1))
        left, top = (int(draw.integers(0, most - side + 1)) for most in photo.size)
        picture = photo.crop((left, top, left + side, top + side)).resize((STORED, STORED), Image.Resampling.BICUBIC)
        picture = ImageOps.mirror(picture) if draw.random() < 0.5 else picture
        buffer = io.BytesIO()
        ImageEnhance.Brightness(picture).enhance(draw.uniform(0.7, 1.3)).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue()


def lay_out(folder: Path) -> None:
    """The same bytes as a pool, as class folders, and as litdata's chunks. webdataset reads the pool's own shards."""
    import litdata

    (folder / "pool").mkdir()
    with PoolWriter(folder / "pool", CLASSES) as writer:
        for number, data in enumerate(photographs(PICTURES)):
            label = number % len(CLASSES)
            writer.add(
                Example(str(number), data, label=label), images.measure(data, 10**9), trusted=False, dirt=None, source=str(number)
            )
            path = folder / "folders" / CLASSES[label] / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    litdata.optimize(
        litdata_item, sorted(map(str, (folder / "folders").rglob("*.jpg"))), str(folder / "litdata"),
        chunk_bytes="64MB", num_workers=1, verbose=False, start_method="fork",
    )  # fmt: skip


def litdata_item(path: str) -> dict[str, object]:
    return {"image": Image.open(path), "label": CLASSES.index(Path(path).parent.name)}


class Whole(Pixels):
    """`fast`, but every jpg decoded whole: the very work that litdata and torchvision's filter do."""

    def _picture(self, data: bytes) -> np.ndarray:
        return square_fast(images.decode_scaled(data, STORED), self.size)


def ours(pixels: Pixels, seed: int, size: int = BATCH) -> Iterator[Tensor]:
    """Two batches are asked for ahead, as the peers do for each worker; the training loop asks for one, while it trains."""
    steps = [order.candidates(step, size, len(pixels), seed) for step in range(order.epoch_steps(len(pixels), size))]
    ahead = deque(pixels.ahead(indices) for indices in steps[:2])
    for indices in [*steps[2:], None, None]:
        yield ahead.popleft().result()
        if indices is not None:
            ahead.append(pixels.ahead(indices))


def resized() -> Callable[[object], object]:
    from torchvision.transforms import v2

    return v2.Resize(SIZE, v2.InterpolationMode.BICUBIC, antialias=True)


def to_tensor() -> Callable[[object], Tensor]:
    from torchvision.transforms import v2

    return v2.Compose([resized(), v2.PILToTensor()])  # type: ignore[no-any-return]


def image_folder(folder: Path, seed: int) -> Iterator[Tensor]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    torch.manual_seed(seed)
    data = ImageFolder(str(folder / "folders"), to_tensor())
    for batch, _ in DataLoader(data, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True):
        yield batch


def webdataset(folder: Path, seed: int) -> Iterator[Tensor]:
    import webdataset as wds

    shards = sorted(map(str, (folder / "pool" / "shards").glob("*.tar")))
    data = wds.WebDataset(shards, shardshuffle=False, workersplitter=wds.split_by_worker, empty_check=False)
    data = data.shuffle(1000, rng=random.Random(seed)).decode("pilrgb").to_tuple("jpg", "cls").map_tuple(to_tensor())
    for batch, _ in wds.WebLoader(data.batched(BATCH, partial=False), batch_size=None, num_workers=WORKERS):
        yield batch


def lit(folder: Path, seed: int) -> Iterator[Tensor]:
    import litdata

    class Resized(litdata.StreamingDataset):  # type: ignore[misc]
        resize = staticmethod(resized())

        def __getitem__(self, index: int) -> object:
            item = super().__getitem__(index)
            return self.resize(item["image"]), item["label"]

    data = Resized(str(folder / "litdata"), shuffle=True, seed=seed, drop_last=True)
    for batch, _ in litdata.StreamingDataLoader(data, batch_size=BATCH, num_workers=WORKERS):
        yield batch


def rate(batches: Iterator[Tensor]) -> float:
    """Pictures a second, the start of the workers included."""
    start, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch)
    return count / (time.perf_counter() - start)


def interleaved(
    loaders: dict[str, Callable[[int], Iterator[Tensor]]], before: Callable[[], None] = lambda: None
) -> dict[str, list[float]]:
    """Pictures a second of each loader in each round; a round before the first fills caches and is left out."""
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
        found[name] = {
            "images_s": statistics.median(ones),
            "ratio": statistics.median(ratios),
            "least": min(ratios),
            "most": max(ratios),
        }
    return found


def peers(folder: Path, pool: Pool) -> dict[str, dict[str, float]]:
    rows = np.arange(len(pool))
    rates = interleaved(
        {
            "Pixels": lambda seed: ours(Pixels(pool, rows, SIZE, 0, WORKERS), seed),
            "Pixels, fast, decoded whole": lambda seed: ours(Whole(pool, rows, SIZE, 0, WORKERS), seed),
            "Pixels, fast": lambda seed: ours(Pixels(pool, rows, SIZE, 0, WORKERS, fast=True), seed),
            "ImageFolder + DataLoader": lambda seed: image_folder(folder, seed),
            "webdataset": lambda seed: webdataset(folder, seed),
            "litdata": lambda seed: lit(folder, seed),
        }
    )
    best = max(("ImageFolder + DataLoader", "webdataset", "litdata"), key=lambda name: statistics.median(rates[name]))
    return summary(rates, best)


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
    return {kind: summary(interleaved(loaders, before), "everything") for kind, before in {"warm": lambda: None, "cold": cool}.items()}


def low_resolution(pool: Pool) -> dict[str, dict[str, float]]:
    rows = np.arange(len(pool))
    return summary(
        interleaved(
            {
                "decoded whole, Pillow": lambda seed: ours(Pixels(pool, rows, STORED // 4, 0, WORKERS), seed),
                "decoded whole, fast": lambda seed: ours(Whole(pool, rows, STORED // 4, 0, WORKERS), seed),
                "scaled": lambda seed: ours(Pixels(pool, rows, STORED // 4, 0, WORKERS, fast=True), seed),
            }
        ),
        "decoded whole, Pillow",
    )


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
            columns |= {"shard": pa.array(numbers // 10_000, pa.int32()), "offset": pa.array(numbers % 10_000 * 20_000)}
            columns |= {"size": pa.array(np.full(size, 18_000, np.int32)), "label": pa.array((numbers % 1000).astype(np.int32))}
            writer.write_table(pa.table(columns, INDEX))
            uids.append(halves[draw.random(size) < 0.8])
    chosen = np.concatenate(uids)
    chosen = chosen[np.lexsort((chosen[:, 1], chosen[:, 0]))]
    np.save(folder / "uids.npy", chosen.view(uid_files.DTYPE)[:, 0])


def opening(folder: Path, kept: Path) -> dict[str, float]:
    """What a stage does before its first picture: open pool and version, and find the candidates in the middle of an epoch."""
    index.FOLDER = kept
    before = most_memory()
    start = time.perf_counter()
    pool = Pool.open(folder)
    data = examples(pool, np.load(folder / "uids.npy", mmap_mode="r"), SIZE, Run(cache_gb=0))
    step = 3 * order.epoch_steps(len(data), 640) + 5000
    chosen = order.candidates(step, 640, len(data), 0)
    places = pool.index.shard[data.pixels.rows[chosen]], pool.index.offset[data.pixels.rows[chosen]]
    seconds = time.perf_counter() - start
    assert len(places[0]) == 640
    held = pool.index.nbytes / len(pool) + (data.pixels.rows.nbytes + data.labels.nbytes) / len(data)
    return {"rows": len(pool), "examples": len(data), "seconds": seconds, "bytes": held, "memory_gb": most_memory() - before}


def most_memory() -> float:
    """The most that this process held so far, mapped files included, in GB."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e6


def openings(folder: Path) -> dict[str, dict[str, float]]:
    """Each in a process of its own: the first makes the kept index, the others find it."""
    made_up(folder / "many", ROWS)
    command = [sys.executable, "-m", "benchmarks.loader", "opening", str(folder / "many"), str(folder / "kept")]
    runs = [json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(ROUNDS + 1)]
    return {"first": runs[0], "again": sorted(runs[1:], key=lambda run: run["seconds"])[ROUNDS // 2]}


def page(found: dict[str, dict[str, dict[str, float]]]) -> str:
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    lines = [f"# The loader\n\n`python -m benchmarks.loader`: medians of {ROUNDS} interleaved rounds; {machine}."]
    titles = {
        "peers": f"{PICTURES} jpgs of {STORED} px to {SIZE} px, {WORKERS} workers; ratios to the best peer",
        "warm": "A random fifth of the pool against all of it, page cache warm",
        "cold": "The same, page cache emptied before each pass",
        "low_resolution": f"To {STORED // 4} px, a quarter",
    }
    for key, title in titles.items():
        lines += [f"\n## {title}\n", "| loader | images/s | ratio (range) |", "|---|---|---|"]
        for name, value in found[key].items():
            lines.append(f"| {name} | {value['images_s']:.0f} | {value['ratio']:.2f} ({value['least']:.2f} to {value['most']:.2f}) |")
    lines += [
        f"\n## Opening {ROWS:,} rows in the middle of an epoch\n",
        "| | seconds | bytes an example | memory, GB |",
        "|---|---|---|---|",
    ]
    for name, value in found["opening"].items():
        lines.append(f"| {name} | {value['seconds']:.2f} | {value['bytes']:.0f} | {value['memory_gb']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lay_out(folder)
        pool = Pool.open(folder / "pool")
        found = {"peers": peers(folder, pool), **views(pool), "low_resolution": low_resolution(pool), "opening": openings(folder)}
    (HERE / "loader.json").write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "loader.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["opening"]:
        print(json.dumps(opening(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
