"""Versions for tests: `from tests.versions import PLAIN_CPU, write_all, write_third`."""

from pathlib import Path
from typing import Any

import numpy as np

from winnow.config.datasets import Dataset
from winnow.pool.pool import Pool
from winnow.versions import lineage, version

# The environment of a process that uses no vector instructions beyond numpy's baseline.
PLAIN_CPU = {
    "ARROW_USER_SIMD_LEVEL": "NONE",
    "FAISS_OPT_LEVEL": "generic",
    "NPY_DISABLE_CPU_FEATURES": " ".join(np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])),
    "OPENBLAS_CORETYPE": "Prescott",
}


def write_third(folder: Path, pool: Pool, name: str = "third") -> None:
    """A version that holds two of three rows; every third is dropped, for one of two reasons."""
    keep = np.arange(len(pool)) % 3 > 0
    reason = np.where(np.arange(len(pool)) % 2 > 0, "tiny", "blank").astype(object)
    plan = lineage.planned({"tiny": {"min_side": 9}, "blank": None}, "k")
    facts = {
        "parent": {"name": "pool", "digest": "a" * 64},
        "model": {"name": "test_resnet", "sha256": "b" * 64},
        "seed": 3,
        "steps": [lineage.done(step, len(pool), reason[~keep]) for step in plan],
    }
    source = lineage.source(Dataset(source="digits", path="/some/where/digits.tar"))
    version.write(folder, name, pool, keep, reason, facts, {part.name: source for part in pool.parts})


def write_all(folder: Path, pool: Pool, name: str, source: dict[str, Any]) -> None:
    """A version that holds every row of a pool from this source."""
    facts = {"parent": None, "model": None, "seed": 0, "steps": []}
    keep, reason = np.ones(len(pool), bool), np.full(len(pool), None, object)
    version.write(folder, name, pool, keep, reason, facts, {part.name: source for part in pool.parts})
