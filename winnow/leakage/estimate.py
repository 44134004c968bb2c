"""What the guard misses, as far as can be known: copies of held-out pictures are made on purpose and searched
for, and so are pictures that cannot be the same shot.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import numpy as np
from PIL import Image

from winnow.leakage.alterations import ALTERATIONS
from winnow.leakage.config import METHODS, Config
from winnow.leakage.guard import find_leaks
from winnow.leakage.thumbnails import Thumbnails
from winnow.pipeline.code import digest
from winnow.pool.images import decode_scaled
from winnow.pool.pool import Pool

SAMPLE = 100  # held-out pictures that are altered
LEAST = 128  # pixels a side, at which they are decoded: more is not looked at
UNRELATED = 20_000  # others that are turned upside down
DIGITS = 4


def estimate_missed(
    pool: Pool, rows: np.ndarray, others: Thumbnails, config: Config, seed: int, threads: int = 2
) -> dict[str, Any]:
    """How many altered copies of held-out pictures are found among the others, and how many strangers are.

    For each of the `ALTERATIONS` other held-out pictures are drawn, `SAMPLE` of them, as long as there are
    some; their copies are put among the others and searched for. Then the others are turned upside down, so
    that none shows what a held-out picture shows: whichever is found then is a false alarm. Of false alarms
    that look alike the right way up, such as two pictures of one kind of flower, this counts too few.

    Args:
        pool: where the held-out pictures are.
        rows: theirs.
        others: the thumbnails of the pool or reference that is guarded.

    Returns:
        `sample`, `others`; `alterations`, for each `found`, `recall` and its 95 % Wilson `interval`;
        `unrelated`, with the number of `others`, and of those `found`, its `share` and `interval`.
    """
    order = np.random.default_rng(seed).permutation(len(rows))
    count = min(SAMPLE, len(rows))
    drawn = [rows[order[np.arange(i * count, (i + 1) * count) % len(rows)]] for i in range(len(ALTERATIONS))]
    copies, held = _altered(pool, drawn, seed, threads)
    leaks = find_leaks(Thumbnails.joined([others, copies]), held, config, threads)
    # the copy number i is to be found by the picture number i
    found = np.isin(np.arange(len(copies)), leaks.held[leaks.others - len(others) == leaks.held])
    alterations = {
        name: _share(int(found[i * count : (i + 1) * count].sum()), count, "recall")
        for i, name in enumerate(ALTERATIONS)
    }
    step = max(-(-len(others) // UNRELATED), 1)
    some = others.take(slice(None, None, step))
    turned = Thumbnails(some.luma[:, ::-1], some.chroma[:, :, ::-1])
    alarms = find_leaks(turned, held.take(slice(count)), config, threads)
    return {
        "sample": count,
        "others": len(others),
        "alterations": alterations,
        "unrelated": {"others": len(some), **_share(len(np.unique(alarms.others)), len(some), "share")},
    }


def certificate(
    guarded: Mapping[str, int], config: Config, dropped: Mapping[str, int], missed: Mapping[str, Any]
) -> dict[str, Any]:
    """What a version can say about leaks, in JSON's types; no times.

    Args:
        guarded: the sets that were held out, such as `flowers.test`, and how many pictures each has.
        dropped: how many examples were dropped because of each.
        missed: `estimate_missed` of each, by name, or of all together.
    """
    return {
        "method": config.method,
        "how": METHODS[config.method],
        "parameters": {name: value for name, value in asdict(config).items() if name != "method"},
        "code": digest("winnow.leakage.guard"),
        "guarded": dict(guarded),
        "dropped": dict(dropped),
        "missed": dict(missed),
    }


def _altered(pool: Pool, drawn: list[np.ndarray], seed: int, threads: int) -> tuple[Thumbnails, Thumbnails]:
    """For each alteration the rows that it alters: the copies, and the pictures as they are held out."""

    def work(job: tuple[str, int]) -> tuple[Image.Image, Image.Image]:
        name, row = job
        image = Image.fromarray(decode_scaled(pool.read(row), LEAST)).convert("RGB")
        return ALTERATIONS[name](image, np.random.default_rng([seed, row]))

    jobs = [(name, int(row)) for name, rows in zip(ALTERATIONS, drawn, strict=True) for row in rows]
    with ThreadPoolExecutor(threads) as executor:
        made = list(executor.map(work, jobs))
    return Thumbnails.of([copy for copy, _ in made]), Thumbnails.of([held for _, held in made])


def _share(found: int, of: int, name: str) -> dict[str, Any]:
    from scipy.stats import binomtest

    if not of:
        return {"found": 0, name: None, "interval": None}
    interval = binomtest(found, of).proportion_ci(method="wilson")
    return {
        "found": found,
        name: round(found / of, DIGITS),
        "interval": [round(float(interval.low), DIGITS), round(float(interval.high), DIGITS)],
    }
