"""Claim: of pictures of the same shot the leak guard finds 90 % or more, where perceptual hashes find half.

    python -m benchmarks.leaks cifar=FILE.parquet flowers=FILE.parquet coco=FOLDER [known=PAIRS.csv]
        [sheet=FILE.png]

A set is a parquet file with the columns `key`, `image` (bytes) and, for the first one, `split`, or a folder
of jpgs. The first set's train and test split are also compared with each other, which is what is timed, and
its train split are the strangers among which all copies are searched for.

Pairs that are made: of each set `HELD` pictures are held out, and copies of them by each alteration of
`winnow/leakage/alterations.py` lie among the strangers. A cell is the share of copies that is found by its
own picture; the last column is the share of the strangers that is found too, and so dropped, which of
CIFAR-10 are also true leaks. Pairs that are known: PAIRS.csv has the columns `test` and `train`, keys of the
first set.

Peers: `imagehash.phash` of 256 bits, as the filter near_duplicate uses it; PDQ, of the package pdqhash, with
the hash of the mirror image as well, where that package is installed. `sheet` gets the pairs that are found
between the first set's splits, 100 of them evenly over their scores, to be judged by eye. Writes
benchmarks/leaks.md up to the line `JUDGED`, below which stands what was seen there.
"""

import csv
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pyarrow.parquet as pq
from PIL import Image, ImageDraw
from threadpoolctl import threadpool_limits

from winnow.leakage.alterations import ALTERATIONS
from winnow.leakage.config import Config
from winnow.leakage.guard import Leaks, find_leaks
from winnow.leakage.thumbnails import Thumbnails
from winnow.pool.hashes import pairs
from winnow.pool.images import decode_scaled

try:
    import pdqhash
except ImportError:
    pdqhash = None

OUT = Path(__file__).with_suffix(".md")
JUDGED = "## Judged by eye"
HELD = 300
THREADS = 2
DISTANCES = {"pHash": (20, 40, 60, 80), "PDQ": (31, 60, 90)}
Hash = Callable[[Image.Image], list[np.ndarray]]


def phash(image: Image.Image) -> list[np.ndarray]:
    return [np.packbits(imagehash.phash(image, hash_size=16).hash)]


def pdq(image: Image.Image) -> list[np.ndarray]:
    """Of the picture and of its mirror image."""
    both = (np.asarray(image), np.ascontiguousarray(np.asarray(image)[:, ::-1]))
    return [np.packbits(pdqhash.compute(pixels)[0].astype(np.uint8)) for pixels in both]


def opened(path: Path) -> tuple[list[str], list[bytes], list[str]]:
    """Keys, files and splits of a set."""
    if path.is_dir():
        files = sorted(path.rglob("*.jpg"))
        return (
            [str(file.relative_to(path)) for file in files],
            [f.read_bytes() for f in files],
            [""] * len(files),
        )
    table = pq.read_table(path)
    splits = table["split"].to_pylist() if "split" in table.column_names else [""] * len(table)
    return table["key"].to_pylist(), table["image"].to_pylist(), splits


def decoded(data: bytes, least: int = 64) -> Image.Image:
    return Image.fromarray(decode_scaled(data, least)).convert("RGB")


def thumbnails(files: list[bytes]) -> Thumbnails:
    parts = [
        Thumbnails.of([decoded(data) for data in files[i : i + 1000]]) for i in range(0, len(files), 1000)
    ]
    return Thumbnails.joined(parts)


def altered(files: list[bytes], seed: int) -> dict[str, tuple[list[Image.Image], list[Image.Image]]]:
    """By each alteration: the copies, and the pictures as held out."""
    images = [decoded(data, 128) for data in files]
    made = {}
    for name, alter in ALTERATIONS.items():
        both = [alter(image, np.random.default_rng([seed, i])) for i, image in enumerate(images)]
        made[name] = ([copy for copy, _ in both], [held for _, held in both])
    return made


def rows_of_ours(made: dict, strangers: Thumbnails, config: Config) -> tuple[list[float], float]:
    """The share found of each alteration's copies, and of the strangers."""
    copies = Thumbnails.joined([Thumbnails.of(copy) for copy, _ in made.values()])
    held = Thumbnails.joined([Thumbnails.of(shown) for _, shown in made.values()])
    leaks = find_leaks(Thumbnails.joined([strangers, copies]), held, config, THREADS)
    hit = np.isin(np.arange(len(copies)), leaks.held[leaks.others - len(strangers) == leaks.held])
    strange = len(np.unique(leaks.others[leaks.others < len(strangers)])) / len(strangers)
    return hit.reshape(len(made), -1).mean(axis=1).tolist(), strange


def rows_of_hash(made: dict, strangers: np.ndarray, hashed: Hash, distance: int) -> tuple[list[float], float]:
    shares, strange = [], np.zeros(len(strangers), bool)
    for copies, held in made.values():
        queries = [hashed(image) for image in held]
        codes = np.stack([hashed(image)[0] for image in copies])
        hit = np.zeros(len(held), bool)
        for turn in range(len(queries[0])):
            asked = np.stack([each[turn] for each in queries])
            hit |= (np.unpackbits(codes ^ asked, axis=1).sum(axis=1)) <= distance
            strange[pairs(asked, strangers, distance)[:, 1]] = True
        shares.append(float(hit.mean()))
    return shares, float(strange.mean())


def known_pairs(path: Path, keys: list[str]) -> list[tuple[int, int]]:
    row = {key: i for i, key in enumerate(keys)}
    with path.open() as file:
        return [(row[line["train"]], row[line["test"]]) for line in csv.DictReader(file)]


def table(names: list[str], rows: list[list[str]]) -> list[str]:
    return [
        f"| {' | '.join(names)} |",
        f"|{'---|' * len(names)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def timed(work: Callable[[], object]) -> tuple[object, float, float]:
    """The result, seconds, and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - cpu


def reference_gflops() -> float:
    """float32 products of this machine at this time, on `THREADS` cores: what other programs left of it."""
    a = np.ones((2048, 2048), np.float32)
    with threadpool_limits(THREADS):
        _, seconds, _ = timed(lambda: [a @ a for _ in range(5)])
    return 5 * 2 * 2048**3 / seconds / 1e9


def draw(path: Path, leaks: Leaks, train: list[bytes], test: list[bytes], size: int = 64) -> None:
    """A hundred pairs, evenly over their scores, with those."""
    order = np.argsort(leaks.score, kind="stable")
    shown = order[np.unique(np.linspace(0, len(order) - 1, 100).astype(int))]
    sheet = Image.new("RGB", (10 * (2 * size + 10), 10 * (size + 20)))
    pen = ImageDraw.Draw(sheet)
    for place, pair in enumerate(shown):
        x, y = place % 10 * (2 * size + 10), place // 10 * (size + 20)
        sheet.paste(decoded(train[leaks.others[pair]]).resize((size, size)), (x, y))
        sheet.paste(decoded(test[leaks.held[pair]]).resize((size, size)), (x + size + 2, y))
        pen.text((x, y + size + 2), f"{leaks.score[pair]:.3f}", fill="white")
    sheet.save(path)


def main(arguments: dict[str, str]) -> None:
    options = {name: Path(arguments.pop(name)) for name in ("known", "sheet") if name in arguments}
    sets = {name: opened(Path(path)) for name, path in arguments.items()}
    hashes: dict[str, Hash] = {"pHash": phash, **({"PDQ": pdq} if pdqhash else {})}
    first, (keys, files, splits) = next(iter(sets.items()))
    train = [i for i, split in enumerate(splits) if split == "train"]
    test = [i for i, split in enumerate(splits) if split == "test"]
    train_files, test_files = ([files[i] for i in rows] for rows in (train, test))
    (strangers, wall, cpu) = timed(lambda: thumbnails(train_files))
    lines = [
        "# Leaks",
        "",
        f"`python -m benchmarks.leaks`: {platform.machine()}, {os.cpu_count()} cores.",
        "",
        f"## Time: {len(train)} x {len(test)} pictures ({first})",
        "",
        f"Thumbnails, decoding included, one thread: {1e6 * cpu / len(train):.0f} microseconds a picture",
    ]
    for name, (_, data, _) in list(sets.items())[1:]:
        _, _, cpu = timed(lambda data=data: thumbnails(data[:500]))
        lines[-1] += f", {name} {1e6 * cpu / min(len(data), 500):.0f}"
    held = thumbnails(test_files)
    leaks, wall, cpu = timed(lambda: find_leaks(strangers, held, Config(), THREADS))
    lines[-1] += "."
    lines += [
        "",
        f"Comparison: {wall:.0f} s, {cpu:.0f} s of CPU in {THREADS} threads; matrix products ran at "
        f"{reference_gflops():.0f} GFLOP/s right after. {len(leaks)} pairs, of "
        f"{len(np.unique(leaks.held))} test and {len(np.unique(leaks.others))} train pictures.",
        "",
    ]
    if "sheet" in options:
        draw(options["sheet"], leaks, train_files, test_files)
    codes = {name: np.stack([hashed(decoded(f))[0] for f in train_files]) for name, hashed in hashes.items()}
    if "known" in options:
        known = known_pairs(options["known"], keys)
        lines += found_of_known(known, train, test, leaks, codes, hashes, test_files)
    for name, (_, data, _) in sets.items():
        pictures = test_files if name == first else data
        chosen = np.sort(np.random.default_rng(0).permutation(len(pictures))[:HELD])
        made = altered([pictures[i] for i in chosen], 0)
        rows = [
            [
                "ours",
                *map(percent, (values := rows_of_ours(made, strangers, Config()))[0]),
                percent(values[1]),
            ]
        ]
        for kind, hashed in hashes.items():
            for distance in DISTANCES[kind]:
                shares, strange = rows_of_hash(made, codes[kind], hashed, distance)
                rows.append([f"{kind}, {distance} bits", *map(percent, shares), percent(strange)])
        lines += [f"## Pairs that are made: {name}, {len(chosen)} pictures", ""]
        lines += table(["found, %", *ALTERATIONS, "strangers"], rows)
        print("\n".join(lines[-12:]), flush=True)
    judged = OUT.read_text().partition(JUDGED)[2] if OUT.exists() else "\n"
    OUT.write_text("\n".join(lines) + JUDGED + judged)
    print(OUT.read_text())


def found_of_known(
    known: list[tuple[int, int]],
    train: list[int],
    test: list[int],
    leaks: Leaks,
    codes: dict[str, np.ndarray],
    hashes: dict[str, Hash],
    test_files: list[bytes],
) -> list[str]:
    """The table of known pairs."""
    at_train, at_test = ({row: i for i, row in enumerate(rows)} for rows in (train, test))
    asked = [(at_train[a], at_test[b]) for a, b in known]
    found = set(zip(leaks.others.tolist(), leaks.held.tolist(), strict=True))
    rows = [["ours", percent(float(np.mean([pair in found for pair in asked])))]]
    for kind, hashed in hashes.items():
        near = [
            min(int(np.unpackbits(codes[kind][a] ^ code).sum()) for code in hashed(decoded(test_files[b])))
            for a, b in asked
        ]
        for distance in DISTANCES[kind]:
            rows.append([f"{kind}, {distance} bits", percent(float((np.array(near) <= distance).mean()))])
    return [f"## Pairs that are known: {len(asked)}", "", *table(["", "found, %"], rows)]


if __name__ == "__main__":
    main(dict(argument.split("=", 1) for argument in sys.argv[1:]))
