"""The leak guard: which of the others show the same shot as a held-out picture.

    leaks = find_leaks(fingerprints(pool, rows), fingerprints(task, held_rows), Config())
    drop = rows[leaks.others]

Crops, shifts, re-encodings, other sizes and shapes, changes of light and colour, mirror images, and the next
shot of a burst. Pictures of equal bytes are the caller's, by their uids: blank ones have no details to agree
in.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from winnow.leakage.aligned import Judge
from winnow.leakage.candidates import Candidates, kept, search
from winnow.leakage.config import Config
from winnow.leakage.descriptors import views
from winnow.leakage.thumbnails import Thumbnails

MORE = 8  # times as many candidates, where all of a picture's candidates are leaks


@dataclass(frozen=True)
class Leaks:
    """Pairs of the same shot, sorted by held, then other: `others` and `held` are rows of what was given,
    (m,) int64, `score` (m,) float64 the correlation of the details, of at least the threshold.
    """

    others: np.ndarray
    held: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.others)


def find_leaks(others: Thumbnails, held: Thumbnails, config: Config, threads: int = 2) -> Leaks:
    """All pairs of the same shot that are found; the same on every machine and for any number of threads.

    Where all candidates of a held-out picture are leaks, as of one with many copies, it is searched again with
    more of them.
    """
    rows = np.arange(len(held)) if config.method != "off" and len(others) else np.arange(0)
    keep, compared = kept(config.candidates, len(others)), views(config.mirrored)
    found: list[Candidates] = []
    scores: list[np.ndarray] = []
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as executor:
        while len(rows):
            part = held.take(rows)
            judge = Judge(others, part, compared, config, executor)
            again = np.zeros(len(rows), bool)
            for pairs in search(others, part, compared, config.similarity, keep, threads, executor):
                leaks, score = judge.leaks(pairs)
                full = np.bincount(leaks.held, minlength=len(rows)) >= keep
                again |= full & (keep < len(others))
                done = ~again[leaks.held]
                found.append(replace(leaks, held=rows[leaks.held]).take(done))
                scores.append(score[done])
            rows, keep = rows[again], keep * MORE
    leaks, score = Candidates.joined(found), np.concatenate([np.empty(0), *scores])
    order = np.lexsort((leaks.other, leaks.held))
    return Leaks(leaks.other[order], leaks.held[order], score[order])
