"""How much of the pool's dirt each arm trained on. This file is the only reader of data/pool/dirt.parquet.

An example's dirt is that of the first row of the pool's index with its uid: an exact duplicate has the uid of its clean
original. Shares count what was trained on, so an example that was trained on twice counts twice.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.params import ROOT, Params
from stages.report.files import Trace, trace

BINS = 20


@dataclass(frozen=True)
class Dirt:
    """Shares of one: `pool` and each of `arms` map every kind to its share; `course` is the whole share, (bins,) an arm.

    `kinds` are those in the pool version or in a trace, the commonest of the pool first. `rows` (rows of the pool's index,)
    holds the kind of each row, None where it is clean.
    """

    kinds: tuple[str, ...]
    pool: dict[str, float]
    arms: dict[str, dict[str, float]]
    course: dict[str, np.ndarray]
    rows: np.ndarray

    def total(self, arm: str) -> float:
        """The share of dirt among what an arm trained on."""
        return sum(self.arms[arm].values())

    @property
    def in_pool(self) -> float:
        """The share of dirt in the pool version."""
        return sum(self.pool.values())


def read(params: Params, pool: Pool, root: Path = ROOT) -> Dirt:
    """Join every arm's trace with the record of the pollution."""
    rows = kinds_of_rows(pool)
    version = rows[pool.rows(uid_files.load(root / "data/versions/pool/uids.npy"))]
    traces = {arm: trace(root, arm) for arm in params.arms}
    found = {arm: rows[pool.rows(t.uids)] if t.uids else rows[:0] for arm, t in traces.items()}
    names = {kind for kinds in (version, *found.values()) for kind in kinds if kind is not None}
    kinds = tuple(sorted(names, key=lambda kind: (-np.count_nonzero(version == kind), kind)))
    arms = {arm: shares(found[arm][t.index], kinds) for arm, t in traces.items()}
    course = {arm: over_training(found[arm][t.index], t) for arm, t in traces.items()}
    return Dirt(kinds, shares(version, kinds), arms, course, rows)


def kinds_of_rows(pool: Pool) -> np.ndarray:
    """The dirt of each row of the index, an object array (rows,) with None for clean."""
    table = pq.read_table(pool.folder / "dirt.parquet", columns=["key", "dirt"])
    kinds = dict(zip(table["key"].to_pylist(), table["dirt"].to_pylist(), strict=True))
    out = np.full(len(pool), None, dtype=object)
    if kinds:
        out[:] = [kinds.get(key) for key in pool.table["key"].to_pylist()]
    return out


def shares(dirt: np.ndarray, kinds: tuple[str, ...]) -> dict[str, float]:
    """The share of each kind among the examples, dirt (n,)."""
    return {kind: float(np.count_nonzero(dirt == kind)) / max(len(dirt), 1) for kind in kinds}


def over_training(dirt: np.ndarray, what: Trace, bins: int = BINS) -> np.ndarray:
    """The share of dirt in `bins` equal parts of the steps (fewer where there are fewer steps), dirt (n,) beside the trace."""
    if not len(dirt):
        return np.zeros(0)
    steps = int(what.step.max()) + 1
    bins = min(bins, steps)
    part = what.step.astype(np.int64) * bins // steps
    dirty = np.array([kind is not None for kind in dirt], dtype=np.float64)
    return np.bincount(part, dirty, bins) / np.maximum(np.bincount(part, minlength=bins), 1)
