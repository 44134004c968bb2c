"""What a policy chose, as grids of pictures: the highest- and the lowest-scored examples that it trained on,
and those that it trained on most often.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from winnow.pool.pool import Pool
from winnow.report.page import numbers
from winnow.report.page.tiles import Tile, tile
from winnow.selection.trace import Trace

COUNT = 10


@dataclass(frozen=True)
class Grid:
    """A row of tiles and what they have in common."""

    title: str
    tiles: list[Tile]


def scored(trace: Trace) -> bool:
    """Whether the policy ranked its candidates: a uniform policy gives no scores, or all the same."""
    known = trace.score[np.isfinite(trace.score)]
    return len(known) > 0 and bool(known.min() < known.max())


def of_trace(pool: Pool, trace: Trace, corruption: np.ndarray, count: int = COUNT) -> list[Grid]:
    """The highest- and the lowest-scored of the second half of the steps, and the most often trained on.

    In the first half the learner knows little, and its scores say more about its initial state than about the
    examples. An example counts once, with its highest or its lowest score.

    Args:
        corruption: (rows,) the kind of each row of the pool's index, None where it is clean.
    """
    late = np.flatnonzero((trace.step > trace.step.max() / 2) & np.isfinite(trace.score))
    order = late[np.argsort(trace.score[late], kind="stable")]
    index, score = trace.index[order], trace.score[order]
    low, high = _first(index, count), _first(index[::-1], count)
    worst = dict(
        zip(index[::-1].tolist(), score[::-1].tolist(), strict=True)
    )  # the last value stays: the lowest
    best = dict(zip(index.tolist(), score.tolist(), strict=True))
    often = np.bincount(trace.index, minlength=len(trace.uids))
    most = np.argsort(-often, kind="stable")[:count].tolist()

    def grid(title: str, chosen: Sequence[int], notes: list[str]) -> Grid:
        rows = pool.rows([trace.uids[i] for i in chosen])
        tiles = [tile(pool, int(r), note, corruption[r]) for r, note in zip(rows, notes, strict=True)]
        return Grid(title, tiles)

    return [
        grid("Highest score", high, [_score(best[i]) for i in high]),
        grid("Lowest score", low, [_score(worst[i]) for i in low]),
        grid("Most often", most, [f"{often[i]} ×" for i in most]),
    ]


def _first(index: np.ndarray, count: int) -> list[int]:
    """The first `count` distinct values, in their order."""
    values, place = np.unique(index, return_index=True)
    return [int(v) for v in values[np.argsort(place)][:count]]


def _score(value: float) -> str:
    return numbers.digits(value).replace("-", "−")
