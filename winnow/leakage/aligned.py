"""Is a candidate the same shot? Registered coarsely, then finely, and judged by the details that agree.

    score = details - COLOUR * (1 - colours) * (1 - details**2) - lack of evidence

`details` is the correlation, over what both thumbnails show, of the luma less its 5 x 5 binomial mean: light
and large shapes, in which unrelated pictures may agree, play no part in it. `colours` is the correlation of
the chroma, 0 where there is none. A lack of it counts for little where the details agree well, as those of a
picture and its grey copy do. `winnow/leakage/agreement.py` says what evidence a picture may lack.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np

from winnow.leakage.agreement import details_agree, lack_of_evidence, moments, pixels_agree
from winnow.leakage.candidates import Candidates
from winnow.leakage.config import Config
from winnow.leakage.descriptors import views
from winnow.leakage.registration import LEVELS, start, step, warp
from winnow.leakage.symmetry import mirror_agreement, stands_out
from winnow.leakage.thumbnails import CHROMA_SIDE, Thumbnails

BLOCK = 256  # pairs that are registered at once: their pixels stay in the core's cache
DIGITS = 4  # of a score


@dataclass(frozen=True)
class Gate:
    """After `steps` steps at 16 px, only pairs whose pixels and details correlate as much go on."""

    steps: int
    pixels: float
    details: float


# Of 2,900 pairs of the same shot that pass in the end these gates stop 0.2 %, and 97 % of all others.
GATES = (Gate(1, 0.55, 0.15), Gate(2, 0.65, 0.25))
FINE_STEPS = 2  # at 32 px
COLOUR = 0.7
FAINT = 1.5  # chroma of a lesser standard deviation, in levels, counts for less


@dataclass(frozen=True)
class _Pairs:
    """Candidates with where the held pictures are read now, `place` (n, 4), and were at first."""

    pairs: Candidates
    place: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: np.ndarray | slice) -> "_Pairs":
        return _Pairs(self.pairs.take(rows), self.place[rows], self.first[rows])

    def blocks(self) -> Iterator["_Pairs"]:
        return (self.take(slice(i, i + BLOCK)) for i in range(0, max(len(self), 1), BLOCK))


@dataclass(frozen=True)
class Judged:
    """Candidates, their scores and the correlations of their details, float64 of `DIGITS` decimals, and where
    the held pictures are read.
    """

    pairs: Candidates
    score: np.ndarray
    details: np.ndarray
    place: np.ndarray

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, rows: np.ndarray) -> "Judged":
        """Those of these rows."""
        return Judged(self.pairs.take(rows), self.score[rows], self.details[rows], self.place[rows])

    @classmethod
    def joined(cls, parts: list["Judged"]) -> "Judged":
        """One after the other."""
        none = np.empty(0)
        return cls(
            Candidates.joined([part.pairs for part in parts]),
            np.concatenate([none, *(part.score for part in parts)]),
            np.concatenate([none, *(part.details for part in parts)]),
            np.concatenate([np.empty((0, 4)), *(part.place for part in parts)]),
        )


class Judge:
    """Judges candidates between two sets of thumbnails, in the threads of an executor."""

    def __init__(self, others: Thumbnails, held: Thumbnails, config: Config, executor: Executor) -> None:
        self.others, self.held, self.config, self.executor = others, held, config, executor
        self.views = views(config.mirrored)
        self.mirrored = np.array([view.mirrored for view in self.views])
        self.starts = np.array([start(view) for view in self.views])

    def judge(self, pairs: Candidates) -> "Judged":
        """Those candidates that pass the gates, in their order."""
        first = self.starts[pairs.view]
        left = _Pairs(pairs, first, first)
        for gate in GATES:
            parts = list(self.executor.map(lambda block, gate=gate: self._pass(block, gate), left.blocks()))
            left = _Pairs(
                Candidates.joined([p.pairs for p in parts]),
                np.concatenate([p.place for p in parts]),
                np.concatenate([p.first for p in parts]),
            )
        measured = np.concatenate(list(self.executor.map(self._measure, left.blocks())), axis=1)
        return Judged(left.pairs, measured[0], measured[1], measured[2:].T).take(measured[1] > 0)

    def lessened(self, judged: "Judged") -> "Judged":
        """With scores less the lack of evidence, which is worth measuring only of what seems to be a leak."""
        blocks = _Pairs(judged.pairs, judged.place, judged.place).blocks()
        lack = np.concatenate(list(self.executor.map(self._lack, blocks)))
        return replace(judged, score=np.round(judged.score - lack, DIGITS))

    def asymmetric(self, judged: "Judged") -> "Judged":
        """Those that stand out from their mirror images (`winnow/leakage/symmetry.py`)."""
        blocks = _Pairs(judged.pairs, judged.place, judged.place).blocks()
        mirrored = np.concatenate(list(self.executor.map(self._mirrored, blocks)))
        return judged.take(stands_out(judged.details, mirrored))

    def _pixels(self, pairs: Candidates) -> tuple[np.ndarray, np.ndarray]:
        """Luma of the others and of the held, (n, 32, 32) float32, mirrored where the view is."""
        held = self.held.luma[pairs.held]
        turned = self.mirrored[pairs.view]
        held[turned] = held[turned][..., ::-1]
        return self.others.luma[pairs.other].astype(np.float32), held.astype(np.float32)

    def _pass(self, block: _Pairs, gate: Gate) -> _Pairs:
        if not len(block):
            return block
        other, held = (_halved(pixels) for pixels in self._pixels(block.pairs))
        place = block.place
        for _ in range(gate.steps):
            place = step(other * LEVELS, held, place, block.first)
        on = np.flatnonzero(pixels_agree(other, held, place)[0] > gate.pixels)
        on = on[details_agree(other[on], held[on], place[on])[0] > gate.details]
        return _Pairs(block.pairs.take(on), place[on], block.first[on])

    def _measure(self, block: _Pairs) -> np.ndarray:
        """(6, n): score and details, 0 where too little is common to both or has too few details; place."""
        if not len(block):
            return np.zeros((6, 0))
        other, held = self._pixels(block.pairs)
        place = block.place
        for _ in range(FINE_STEPS):
            place = step(other * LEVELS, held, place, block.first)
        details, contrast, overlap = details_agree(other, held, place)
        colours = self._colours(block.pairs, place)
        score = details - COLOUR * (1 - colours) * (1 - details * details)
        enough = (contrast >= self.config.detail) & (overlap >= self.config.overlap)
        return np.concatenate([np.where(enough, np.round([score, details], DIGITS), 0.0), place.T])

    def _lack(self, block: _Pairs) -> np.ndarray:
        if not len(block):
            return np.zeros(0)
        return lack_of_evidence(*self._pixels(block.pairs), block.place)

    def _mirrored(self, block: _Pairs) -> np.ndarray:
        if not len(block):
            return np.zeros(0)
        return mirror_agreement(*self._pixels(block.pairs), block.place)

    def _colours(self, pairs: Candidates, place: np.ndarray) -> np.ndarray:
        """The correlation of the chroma, of both planes together; less where it is faint, at least 0."""
        held = self.held.chroma[pairs.held]
        turned = self.mirrored[pairs.view]
        held[turned] = held[turned][..., ::-1]
        sums = np.zeros((3, len(pairs)))
        for plane in (0, 1):
            read, inside = warp(held[:, plane].astype(np.float32), place)
            sums += moments(self.others.chroma[pairs.other, plane] * float(LEVELS), read, inside)
        spread = np.sqrt(np.minimum(sums[0], sums[1]) / (2 * CHROMA_SIDE**2)) / LEVELS
        together = np.maximum(sums[2], 0) / np.sqrt(np.maximum(sums[0] * sums[1], 1e-9))
        return together * np.minimum(spread / FAINT, 1)


def _halved(pixels: np.ndarray) -> np.ndarray:
    rows = pixels[:, ::2] + pixels[:, 1::2]
    halved: np.ndarray = (rows[:, :, ::2] + rows[:, :, 1::2]) / 4
    return halved
