"""Grids of what a policy chose: the highest- and the lowest-scored examples it trained on, and those it trained on most often."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.data.pool import Pool
from stages.report import numbers
from stages.report.files import Trace
from stages.report.tiles import Tile, tile

COUNT = 10


@dataclass(frozen=True)
class Grid:
    """A row of tiles and what they have in common."""

    title: str
    tiles: list[Tile]


def scored(what: Trace) -> bool:
    """Whether the policy told its candidates apart: a uniform policy has no scores, or the same for all."""
    known = what.score[np.isfinite(what.score)]
    return len(known) > 0 and bool(known.min() < known.max())


def of_trace(pool: Pool, what: Trace, dirt: np.ndarray, count: int = COUNT) -> list[Grid]:
    """The highest- and the lowest-scored of what was trained on in the second half of the steps, and the most often trained on.

    In the first half the learner knows little, and its scores say more about the start than about the example. An example
    counts once, with its highest or its lowest score. `dirt` (rows,) holds the kind of each row of the pool's index.
    """
    late = (what.step > what.step.max() / 2) & np.isfinite(what.score)
    order = np.flatnonzero(late)[np.argsort(what.score[late], kind="stable")]
    often = np.bincount(what.index, minlength=len(what.uids))
    most = np.argsort(-often, kind="stable")[:count]
    high, low = _first(what.index[order[::-1]], count), _first(what.index[order], count)
    best = {int(what.index[i]): float(what.score[i]) for i in order}  # the last one written is the highest
    worst = {int(what.index[i]): float(what.score[i]) for i in order[::-1]}

    def grid(title: str, chosen: Sequence[int], notes: list[str]) -> Grid:
        rows = pool.rows([what.uids[i] for i in chosen]) if len(chosen) else np.zeros(0, np.int64)
        return Grid(title, [tile(pool, int(r), note, dirt[r]) for r, note in zip(rows, notes, strict=True)])

    return [
        grid("Highest score", high, [_score(best[i]) for i in high]),
        grid("Lowest score", low, [_score(worst[i]) for i in low]),
        grid("Most often", most.tolist(), [f"{often[i]} ×" for i in most]),
    ]


def _first(index: np.ndarray, count: int) -> list[int]:
    """The first `count` distinct values, in their order."""
    values, place = np.unique(index, return_index=True)
    return [int(v) for v in values[np.argsort(place)][:count]]


def _score(value: float) -> str:
    return numbers.digits(value).replace("-", "−")
