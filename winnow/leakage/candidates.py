"""Which pairs are worth registering: for each held-out picture the others whose descriptors agree best.

All pairs are compared, by every view, in blocks of matrix products that are exact (`descriptors`). A pair has
the score of its best view. Of each held-out picture the best `keep` pairs stay, equal scores by the row of
the other; so the result does not depend on blocks, threads or machine.
"""

import math
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from winnow.leakage.descriptors import UNIT, View, descriptors
from winnow.leakage.thumbnails import Thumbnails

OTHERS = 4096  # whose descriptors are in memory at once
HELD = 1024  # that one thread compares with these
TILE = 256  # others of one matrix product: its result stays in the core's cache
PER = 50_000  # others, of which `Config.candidates` are kept


@dataclass(frozen=True)
class Candidates:
    """Pairs: rows of the others and of the held, the number of the best view, and its score, of `UNIT`**2."""

    other: np.ndarray
    held: np.ndarray
    view: np.ndarray
    score: np.ndarray

    def __len__(self) -> int:
        return len(self.other)

    def take(self, rows: np.ndarray | slice) -> "Candidates":
        """Those of these rows."""
        return Candidates(self.other[rows], self.held[rows], self.view[rows], self.score[rows])

    @classmethod
    def joined(cls, parts: list["Candidates"]) -> "Candidates":
        """One after the other."""
        if not parts:
            none = np.empty(0, np.int64)
            return cls(none, none, none, np.empty(0, np.float32))
        columns = zip(*((p.other, p.held, p.view, p.score) for p in parts), strict=True)
        return cls(*(np.concatenate(column) for column in columns))

    def best(self, keep: int) -> "Candidates":
        """Each pair once, by its best view, and the best `keep` of each held picture; by held, then score."""
        by_pair = self.take(np.lexsort((self.view, -self.score, self.other, self.held)))
        first = np.ones(len(self), bool)
        first[1:] = (np.diff(by_pair.held) != 0) | (np.diff(by_pair.other) != 0)
        pairs = by_pair.take(first)
        pairs = pairs.take(np.lexsort((pairs.other, -pairs.score, pairs.held)))
        rank = np.arange(len(pairs)) - np.searchsorted(pairs.held, pairs.held)
        return pairs.take(rank < keep)


def kept(candidates: int, others: int) -> int:
    """How many candidates each held picture may have: `candidates` of up to 50,000 others, more of more."""
    return math.ceil(candidates * max(others / PER, 1))


def search(
    others: Thumbnails,
    held: Thumbnails,
    views: list[View],
    least: float,
    keep: int,
    threads: int,
    executor: Executor,
) -> Iterator[Candidates]:
    """The candidates, some held pictures at a time.

    Args:
        least: the least similarity of a candidate, 0 to 1.
        keep: how many candidates a held picture may have.
        threads: how many the executor has; BLAS itself should have one.
    """
    sides = sorted({(view.held, view.mirrored) for view in views})
    turned = held.mirrored()
    made = executor.map(lambda side: descriptors(turned if side[1] else held, side[0]), sides)
    of_held = dict(zip(sides, made, strict=True))
    size = max(1, min(HELD, -(-len(held) // threads)))
    blocks = [
        _Block(at, [of_held[v.held, v.mirrored][at : at + size] for v in views], least, keep)
        for at in range(0, len(held), size)
    ]
    windows = sorted({view.other for view in views})
    for at in range(0, len(others), OTHERS):
        part = others.take(slice(at, at + OTHERS))
        of_others = dict(zip(windows, executor.map(partial(descriptors, part), windows), strict=True))
        compare = partial(_Block.compare, start=at, others=[of_others[view.other] for view in views])
        list(executor.map(compare, blocks))
    yield from (block.found() for block in blocks)


@dataclass
class _Block:
    """Some of the held pictures, what they have found so far, and which score each still asks for."""

    start: int
    held: list[np.ndarray]
    least: float
    keep: int
    _parts: list[Candidates] = field(default_factory=list)
    _size: int = 0

    def __post_init__(self) -> None:
        self._bar = np.full(len(self.held[0]), max(self.least * UNIT * UNIT, 1), np.float32)
        self._product = np.empty((TILE, len(self._bar)), np.float32)
        self._above = np.empty((TILE, len(self._bar)), bool)

    def compare(self, start: int, others: list[np.ndarray]) -> None:
        for tile in range(0, len(others[0]), TILE):
            for view, (other, held) in enumerate(zip(others, self.held, strict=True)):
                rows = other[tile : tile + TILE]
                product, above = self._product[: len(rows)], self._above[: len(rows)]
                np.matmul(rows, held.T, out=product)
                np.greater_equal(product, self._bar, out=above)
                places = np.flatnonzero(above)
                if len(places):
                    self._add(places, start + tile, view, product)
            if self._size > 2 * self.keep * len(self._bar) + 10_000:
                self._shrink()

    def _add(self, places: np.ndarray, first: int, view: int, product: np.ndarray) -> None:
        row, column = np.divmod(places, len(self._bar))
        number = np.full(len(places), view, np.int64)
        self._parts.append(Candidates(row + first, column, number, product.ravel()[places]))
        self._size += len(places)

    def _shrink(self) -> None:
        """Forget what can no longer be among the best, and ask for more of what comes."""
        best = Candidates.joined(self._parts).best(self.keep)
        self._parts, self._size = [best], len(best)
        full = np.bincount(best.held, minlength=len(self._bar)) >= self.keep
        worst = np.full(len(self._bar), np.inf, np.float32)
        np.minimum.at(worst, best.held, best.score)
        self._bar[full] = worst[full]

    def found(self) -> Candidates:
        best = Candidates.joined(self._parts).best(self.keep)
        return Candidates(best.other, best.held + self.start, best.view, best.score)
