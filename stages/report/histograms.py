"""Bars of a card: how the rows of a pool spread over classes and over sizes, before and after curation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.data.pool import Pool

MOST = 30  # bars; what is rarer is one bar


@dataclass(frozen=True)
class Bar:
    """One class or size: how many rows were found and how many kept, and what share of all they are, before and after."""

    name: str
    found: int
    kept: int
    before: float
    after: float


def classes(pool: Pool, keep: np.ndarray) -> list[Bar]:
    """A bar for each class by the labels as they are, rows without one last; keep (rows,) bool."""
    labels = pool.table["label"].to_numpy()
    values = sorted(set(labels.tolist()), key=lambda label: (label < 0, label))
    names = {label: pool.classes[label] if 0 <= label < len(pool.classes) else "no label" for label in values}
    return _bars([names[v] for v in values], [labels == v for v in values], keep)


def sizes(pool: Pool, keep: np.ndarray) -> list[Bar]:
    """A bar for each width x height, where there are few; else one for each doubling of the side of a square of equal area."""
    width, height = (pool.table[name].to_numpy().astype(np.int64) for name in ("width", "height"))
    exact = sorted(Counter(zip(width.tolist(), height.tolist(), strict=True)), key=lambda size: (size[0] * size[1], size))
    if len(exact) <= MOST // 3:
        return _bars([f"{w} × {h}" for w, h in exact], [(width == w) & (height == h) for w, h in exact], keep)
    step = np.floor(np.log2(np.maximum(width * height, 1)) / 2).astype(int)
    steps = sorted(set(step.tolist()))
    return _bars([f"{2**s}–{2 ** (s + 1) - 1} px" for s in steps], [step == s for s in steps], keep)


def _bars(names: Sequence[str], masks: Sequence[np.ndarray], keep: np.ndarray) -> list[Bar]:
    rows, kept = max(len(keep), 1), max(int(keep.sum()), 1)
    pairs = [(name, int(mask.sum()), int((mask & keep).sum())) for name, mask in zip(names, masks, strict=True)]
    if len(pairs) > MOST:
        order = sorted(range(len(pairs)), key=lambda i: (-pairs[i][1], i))
        shown, rest = sorted(order[: MOST - 1]), order[MOST - 1 :]
        others = (f"{len(rest)} others", sum(pairs[i][1] for i in rest), sum(pairs[i][2] for i in rest))
        pairs = [*(pairs[i] for i in shown), others]
    return [Bar(name, found, held, found / rows, held / kept) for name, found, held in pairs]
