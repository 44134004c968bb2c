"""The leak guard: which of the others show the same shot as a held-out picture.

    leaks = find_leaks(fingerprints(pool, rows), fingerprints(task, held_rows), Config())
    drop = rows[np.unique(leaks.others)]

It finds crops, shifts, re-encodings, other sizes and shapes, changes of light and colour, mirror images, and
the next shot of a burst. Files of equal bytes are the caller's, by their uids: blank pictures have no details
to agree in.
"""

from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from winnow.leakage import crowd
from winnow.leakage.aligned import Judge, Judged
from winnow.leakage.candidates import kept, search
from winnow.leakage.config import Config
from winnow.leakage.thumbnails import Thumbnails

MORE = 8  # times as many candidates, where all of a picture's candidates are leaks


@dataclass(frozen=True)
class Leaks:
    """Pairs of the same shot, sorted by held, then other: `others` and `held` (m,) int64, rows of what was
    given, and `score` (m,) float64.
    """

    others: np.ndarray
    held: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.others)

    @classmethod
    def of(cls, judged: Judged) -> "Leaks":
        """Sorted."""
        pairs = judged.pairs
        order = np.lexsort((pairs.other, pairs.held))
        return cls(pairs.other[order], pairs.held[order], judged.score[order])


def find_leaks(others: Thumbnails, held: Thumbnails, config: Config, threads: int = 2) -> Leaks:
    """All pairs of the same shot that are found; the same on every machine and for any number of threads.

    Where all candidates of a held-out picture are leaks, as of one with many copies, it is searched again
    with more of them.
    """
    if config.method == "off" or not len(others) or not len(held):
        return Leaks.of(Judged.joined([]))
    keep, bar = kept(config.candidates, len(others)), np.zeros(len(held))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as executor:

        def judged(rows: np.ndarray, keep: int) -> Judged:
            found = _judged(others, held.take(rows), config, keep, threads, executor)
            return replace(found, pairs=replace(found.pairs, held=rows[found.pairs.held]))

        leaks = judged(np.arange(len(held)), keep)
        if config.crowd:
            bar = crowd.bars(leaks.pairs.held, leaks.details, len(held), keep)
        leaks = _passing(leaks, config, bar)
        while keep < len(others):
            full = np.flatnonzero(np.bincount(leaks.pairs.held, minlength=len(held)) >= keep)
            if not len(full):
                break
            keep *= MORE
            again = _passing(judged(full, keep), config, bar)
            leaks = Judged.joined([leaks.take(~np.isin(leaks.pairs.held, full)), again])
        judge = Judge(others, held, config, executor)
        leaks = _passing(judge.lessened(leaks), config, bar)
        if config.crowd:
            leaks = judge.asymmetric(leaks)
    return Leaks.of(leaks)


def _passing(judged: Judged, config: Config, bar: np.ndarray) -> Judged:
    return judged.take((judged.score >= config.threshold) & (judged.details >= bar[judged.pairs.held]))


def _judged(
    others: Thumbnails, held: Thumbnails, config: Config, keep: int, threads: int, executor: Executor
) -> Judged:
    """All candidates that pass the gates."""
    judge = Judge(others, held, config, executor)
    proposed = search(others, held, judge.views, config.similarity, keep, threads, executor)
    return Judged.joined([judge.judge(pairs) for pairs in proposed])
