"""How the rows of a pool spread over classes and over sizes, before and after curation, as bars of a page."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from winnow.pool.pool import Pool

MOST = 30  # bars; the rarest share one


@dataclass(frozen=True)
class Bar:
    """One class or size: how many rows of the pool and of the version have it, and what share of either that
    is.
    """

    name: str
    found: int
    kept: int
    before: float
    after: float


def classes(pool: Pool, keep: np.ndarray) -> list[Bar]:
    """A bar for each class by the labels as given, rows without a label last; keep (rows,) bool."""
    labels = pool.table["label"].to_numpy()
    values = sorted(set(labels.tolist()), key=lambda label: (label < 0, label))
    names = {label: pool.classes[label] if 0 <= label < len(pool.classes) else "no label" for label in values}
    return _bars([names[v] for v in values], [labels == v for v in values], keep)


def sizes(pool: Pool, keep: np.ndarray) -> list[Bar]:
    """A bar for each width x height where there are few, else for each doubling of the side of a square of
    equal area; keep (rows,) bool.
    """
    width, height = (pool.table[name].to_numpy().astype(np.int64) for name in ("width", "height"))
    distinct = set(zip(width.tolist(), height.tolist(), strict=True))
    exact = sorted(distinct, key=lambda size: (size[0] * size[1], size))
    if len(exact) <= MOST // 3:
        return _bars([f"{w} × {h}" for w, h in exact], [(width == w) & (height == h) for w, h in exact], keep)
    step = np.floor(np.log2(np.maximum(width * height, 1)) / 2).astype(int)
    steps = sorted(set(step.tolist()))
    return _bars([f"{2**s}–{2 ** (s + 1) - 1} px" for s in steps], [step == s for s in steps], keep)


def _bars(names: Sequence[str], masks: Sequence[np.ndarray], keep: np.ndarray) -> list[Bar]:
    rows, kept = max(len(keep), 1), max(int(keep.sum()), 1)
    counted = zip(names, masks, strict=True)
    pairs = [(name, int(mask.sum()), int((mask & keep).sum())) for name, mask in counted]
    if len(pairs) > MOST:
        order = sorted(range(len(pairs)), key=lambda i: (-pairs[i][1], i))
        shown, rest = sorted(order[: MOST - 1]), order[MOST - 1 :]
        others = (f"{len(rest)} others", sum(pairs[i][1] for i in rest), sum(pairs[i][2] for i in rest))
        pairs = [*(pairs[i] for i in shown), others]
    return [Bar(name, found, left, found / rows, left / kept) for name, found, left in pairs]
