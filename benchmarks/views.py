"""Views of whole pictures against lightly's: sharpness, images a second, and whole DINO steps.

    uv pip install --no-deps -r requirements-oracles.lock     # lightly
    python -m benchmarks.views PHOTOS

PHOTOS is a folder of jpgs, for the sharpness; benchmarks/views_peers.py makes the pictures for all else. What
views.json holds already is not measured again.

Both sides do equal work on the same 500 x 375 px jpgs: two global and six local views with the same scales,
flips, colour changes, blur and solarisation; in a step, also the same timm backbone, heads, batch size and
fused AdamW, a teacher, and its loss. Ours is the project's own training loop. lightly takes Pillow images,
decoded in full, and gets all views of one size in one forward, which its documentation does not do. Its
loader works in the main process with one thread; with two it has two processes in "views", and one or two
beside two threads of torch in a step. With one thread, seconds are the processor's, so that what else runs on
the machine matters less; with two they are the clock's. A round runs all variants, one after another, each in
a process of its own, and starts with another one; ratios are medians of the rounds' own.
"""

import io
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import laplace
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resized_crop, to_image

from benchmarks import views_peers as peers
from models.methods import dino
from winnow.config.schema import Backbone, Engine, Method, Params, Run, View
from winnow.loading.examples import Examples, examples
from winnow.loading.noise import Noise
from winnow.loading.pictures import Pictures, boxes, decoded, kept_sides
from winnow.loading.pixels import square
from winnow.loading.views import crop, make
from winnow.pool.images import decode
from winnow.pool.pool import Pool
from winnow.training.device import generator, launch

HERE = Path(__file__).resolve().parent
CLOCKS = {1: time.process_time, 2: time.perf_counter}
CHANNELS_LAST = "lightly, channels_last"
ROUNDS, DRAWS, PHOTOS = 3, 4, 64
SIZES = ((64, 32, 32), (224, 128, 8))  # global and local pixels, batch
STEPS = (("mobilenetv2_100", SIZES[1]), ("mobilenetv2_100", SIZES[0]), ("resnet18", SIZES[0]))
COUNT = 3  # steps that are timed


def opened(folder: Path, recipe: dict[str, View], side: int, threads: int) -> Examples:
    pool = Pool.open(folder / "pool")
    params = Params(run=Run(accelerator="cpu", threads=threads), engine=Engine(cache_gb=0))
    uids = [pool.index.uid(row) for row in range(len(pool))]
    return examples(pool, uids, side, params, views=recipe.values())


def views_of(kind: str, folder: Path, side: int, local: int, size: int, threads: int) -> float:
    """Images a second of one epoch, without a model."""
    torch.set_num_threads(threads)
    if kind == "lightly":
        found = peers.batches(folder, side, local, size, threads if threads > 1 else 0)
        return _rate(found, size, threads)
    recipe = peers.recipe(side, local)
    data = opened(folder, recipe, side, threads)

    def ours() -> Iterator[Any]:
        for start in range(0, len(data) - size + 1, size):
            yield make(data.pixels.get(np.arange(start, start + size)), recipe, generator("views", start))

    return _rate(ours(), size, threads)


def _rate(batches: Iterator[Any], size: int, threads: int) -> float:
    now = CLOCKS[threads]
    start = now()
    return sum(size for _ in batches) / (now() - start)


def steps_of(
    kind: str,
    folder: Path,
    side: int,
    local: int,
    size: int,
    backbone: str,
    steps: int,
    threads: int,
    workers: int,
) -> float:
    """Images a second of whole steps, after one that warms up; the loader's processes are started before."""
    now = CLOCKS[threads]
    if kind == "ours":
        times = _our_steps(folder, side, local, size, backbone, steps, threads)
        return size * steps / (times[-1] - times[0])
    torch.set_num_threads(threads)
    model, times = peers.Dino(backbone, side, kind == CHANNELS_LAST), []
    for views in peers.batches(folder, side, local, size, workers):
        model.step(views)
        times.append(now())
        if len(times) > steps:
            break
    return size * steps / (times[-1] - times[0])


def _our_steps(
    folder: Path, side: int, local: int, size: int, backbone: str, steps: int, threads: int
) -> list[float]:
    from winnow.selection.policy import UNIFORM
    from winnow.selection.selector import Selector
    from winnow.training.build import build_objective
    from winnow.training.loop import Loop

    recipe = Method(batch_size=size, views=peers.recipe(side, local))
    fabric = launch(Run(accelerator="cpu", threads=threads))
    data = opened(folder, recipe.views, side, threads)
    settings = vars(dino.Config(**peers.HEAD))
    objective = build_objective("dino", settings, Backbone(backbone, side), 1, 0)
    times: list[float] = []
    loop = Loop(fabric, objective, data, recipe, Selector(UNIFORM, recipe, data, None, 0), steps + 1, 0)
    loop.run(lambda state: times.append(CLOCKS[threads]()))
    return times


def sharpness(photos: list[bytes]) -> dict[str, dict[str, float]]:
    """Median variance of the Laplacian of the grey levels of views, `DRAWS` boxes of each photograph.

    "before" is a view cut from the centre square of 224 px, by the same generator, as it once was.
    """
    found: dict[str, dict[str, float]] = {}
    sides = np.array([Image.open(io.BytesIO(data)).size[::-1] for data in photos], np.int32)
    squares = torch.from_numpy(np.stack([square(decode(data), 224) for data in photos]))
    for size, least, most in ((128, 0.05, 0.3), (96, 0.05, 0.3), (32, 0.05, 0.3), (224, 0.3, 1.0)):
        values: dict[str, list[float]] = {"RandomResizedCrop": [], "ours": [], "before": []}
        recipe = [View(size=size, scale=[least, most])]
        kept = kept_sides(sides, recipe, 224).tolist()
        arrays = [decoded(data, *kept[row]) for row, data in enumerate(photos)]
        numbers = np.arange(len(photos), dtype=np.uint64)
        with ThreadPoolExecutor(1) as threads:
            batch = Pictures(arrays, sides, numbers, 224, threads)
            for draw in range(DRAWS):
                crops = batch.crops(recipe[0], batch.noise(generator(draw)))
                values["ours"] += map(_sharpness, batch.cut([crops])[0])
                old = crop(squares.float() / 255, size, (least, most), 0.0, generator(draw))
                values["before"] += map(_sharpness, (old * 255).round())
                for data, box in zip(photos, crops.boxes.tolist(), strict=True):
                    image = to_image(decode(data))
                    mode = InterpolationMode.BICUBIC
                    theirs = resized_crop(image, *box, [size, size], mode, antialias=True)
                    values["RandomResizedCrop"].append(_sharpness(theirs))
        found[f"{size} px, {least:g} to {most:g}"] = {k: statistics.median(v) for k, v in values.items()}
    return found


def _sharpness(view: torch.Tensor) -> float:
    return float(laplace(view.double().mean(dim=0).numpy()).var())


def seen(photos: list[bytes]) -> float:
    """The share of a median photograph that 1,000 local views see."""
    sides = np.median([Image.open(io.BytesIO(data)).size[::-1] for data in photos], axis=0).astype(int)
    pixels = np.zeros(sides, bool)
    drawn = boxes(np.tile(sides, (1000, 1)), (0.05, 0.3), Noise(0, np.arange(1000, dtype=np.uint64)))
    for top, left, height, width in drawn:
        pixels[top : top + height, left : left + width] = True
    return float(pixels.mean())


def interleaved(variants: dict[str, list[object]]) -> dict[str, dict[str, float]]:
    """The median rate of each variant, and the median, least and most of its ratios to the best peer."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    names = list(variants)
    for turn in range(ROUNDS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            command = [sys.executable, "-m", "benchmarks.views", "--one", json.dumps(variants[name])]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rates[name].append(float(done.stdout.split()[-1]))
        print("  " + ", ".join(f"{name} {ones[-1]:.1f}" for name, ones in rates.items()), flush=True)
    best = max(names[1:], key=lambda name: statistics.median(rates[name]))
    found = {}
    for name, ones in rates.items():
        ratios = [own / its for own, its in zip(ones, rates[best], strict=True)]
        found[name] = {"images_s": statistics.median(ones), "ratio": statistics.median(ratios)}
        found[name] |= {"least": min(ratios), "most": max(ratios)}
    return found


def variants_of(folder: Path) -> dict[str, dict[str, list[object]]]:
    """What is measured, by its title: variants, ours first."""
    found: dict[str, dict[str, list[object]]] = {}
    where = str(folder)
    for side, local, size in SIZES:
        for threads in (1, 2):
            shape = [where, side, local, size, threads]
            title = f"Views of {side} and {local} px, threads: {threads}"
            found[title] = {kind: ["views", kind, *shape] for kind in ("ours", "lightly")}
    for backbone, (side, local, size) in STEPS:
        for threads, workers in ((1, (0,)), (2, (1, 2))):
            shape = [where, side, local, size, backbone, COUNT, threads]
            variants: dict[str, list[object]] = {"ours": ["steps", "ours", *shape, 0]}
            for kind, number in itertools.product(("lightly", CHANNELS_LAST), workers):
                variants[f"{kind}, workers: {number}"] = ["steps", kind, *shape, number]
            title = f"Steps of {backbone}, {side} and {local} px, batch {size}, threads: {threads}"
            found[title] = variants
    return found


def page(found: dict[str, Any]) -> str:
    processor = platform.processor() or platform.machine()
    machine = f"{processor}, {os.cpu_count()} cores, torch {torch.__version__}"
    rounds = f"medians of {ROUNDS} interleaved rounds; {machine}"
    lines = [f"# Views\n\n`python -m benchmarks.views PHOTOS`: {rounds}.\n\n## Sharpness\n"]
    boxes_of = f"{DRAWS} boxes of each of {found['photographs']} photographs, the same boxes for both"
    lines += [f"Median variance of the Laplacian of {boxes_of}; before, views were cut from the centre"]
    lines += [f"square of 224 px. 1,000 local views see {found['seen']:.1%} of a photograph.\n"]
    lines += ["| view | RandomResizedCrop on the photo | ours | ratio | before |", "|---|---|---|---|---|"]
    for name, one in found["sharpness"].items():
        theirs, ours, before = one["RandomResizedCrop"], one["ours"], one["before"]
        lines.append(f"| {name} | {theirs:.0f} | {ours:.0f} | {ours / theirs:.2f} | {before:.0f} |")
    for title, variants in found.items():
        if title in ("photographs", "sharpness", "seen"):
            continue
        lines += [f"\n## {title}\n", "| | images/s | ratio to the best of lightly (range) |", "|---|---|---|"]
        for name, value in variants.items():
            ratio = f"{value['ratio']:.2f} ({value['least']:.2f} to {value['most']:.2f})"
            lines.append(f"| {name} | {value['images_s']:.1f} | {ratio} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        what, kind, folder, *rest = json.loads(sys.argv[2])
        print((views_of if what == "views" else steps_of)(kind, Path(folder), *rest))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = list(peers.photographs(peers.PICTURES))
        peers.lay_out(folder, iter(made))
        photos = [path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.jpg"))[:PHOTOS]]
        results = HERE / "views.json"
        found = json.loads(results.read_text()) if results.exists() else {}
        if not found:
            found = {"photographs": len(photos), "sharpness": sharpness(photos), "seen": seen(photos)}
        for title, variants in variants_of(folder).items():
            if title not in found:
                print(title, flush=True)
                found[title] = interleaved(variants)
                results.write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "views.md").write_text(page(found))
    print(page(found))


if __name__ == "__main__":
    main()
