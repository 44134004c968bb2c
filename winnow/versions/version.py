"""A version on disk: which examples of a pool it holds, why not the others, where it comes from, and the same
in machine-readable form.

    uids.npy           sorted uids in DataComp's subset format; its SHA-256 is the version's digest
    reasons.parquet    a row for each row of the pool: key, uid, keep, reason (None where it is kept)
    lineage.json       datasets, parent, model, seed, and the steps in order with their parameters, code hash
                       and drops
    croissant.json     the same as Croissant metadata, with its provenance in PROV-O

No file holds a time, an energy, a user or a path of a machine, so the same pool, parameters and library
versions give the same bytes anywhere. What a version cost, and who requested it when, is in the `cost.json`
of the stage that made it.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from winnow.pipeline.files import read_json, sha256, write_json
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool
from winnow.versions import croissant

REASONS = pa.schema({"key": pa.string(), "uid": pa.string(), "keep": pa.bool_(), "reason": pa.string()})


@dataclass(frozen=True)
class Version:
    """A version opened for reading; `lineage` is empty where a folder holds uids alone, as a subset made
    elsewhere does.
    """

    folder: Path
    uids: list[str]
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.lineage.get("name", self.folder.resolve().name))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of uids.npy, in hex."""
        return sha256(self.folder / "uids.npy")

    @cached_property
    def reasons(self) -> pa.Table:
        """The table of `REASONS`; without rows where the folder has none."""
        path = self.folder / "reasons.parquet"
        return pq.ParquetFile(path).read() if path.is_file() else REASONS.empty_table()


def load(folder: Path | str) -> Version:
    """Open the version in a folder.

    Raises:
        ValueError: when it holds none, or its lineage is no JSON.
    """
    folder = Path(folder)
    try:
        uids = uid_files.load(folder / "uids.npy")
    except (OSError, ValueError) as error:
        why = type(error).__name__
        raise ValueError(
            f"{folder}: no version there ({why}); give a folder with uids.npy, or its name"
        ) from None
    path = folder / "lineage.json"
    return Version(folder, uids, read_json(path, "make the version again") if path.is_file() else {})


def write(
    folder: Path,
    name: str,
    pool: Pool,
    keep: np.ndarray,
    reason: np.ndarray,
    lineage: Mapping[str, Any],
    sources: Mapping[str, Any] | None = None,
    may_be_empty: bool = False,
) -> None:
    """Write a version's four files into a folder, made if it is not there.

    Args:
        keep: (rows,) bool, the rows of the pool that the version holds.
        reason: (rows,) object, why the version does not hold a row; read only where `keep` is false.
        lineage: `parent`, `seed`, `model` and `steps`, each as in `lineage.json`. Name, digest, counts,
            datasets and the version of Winnow are added here.
        sources: dataset -> where it comes from (`lineage.sources`); one that is not there gives its name.

    Raises:
        ValueError: if nothing is kept.
    """
    if not keep.any() and not may_be_empty:
        raise ValueError(f"version {name}: nothing is left; loosen its filters or give more data")
    folder.mkdir(parents=True, exist_ok=True)
    uids = sorted(set(pool.table["uid"].filter(pa.array(keep)).to_pylist()))
    uid_files.save(folder / "uids.npy", uids)
    reasons = np.array(reason, object)
    reasons[keep] = None
    columns = [pool.table["key"], pool.table["uid"], pa.array(keep), pa.array(reasons, pa.string())]
    pq.write_table(pa.table(columns, REASONS), folder / "reasons.parquet", compression="zstd")
    facts = {
        "name": name,
        "digest": sha256(folder / "uids.npy"),
        "count": len(uids),
        "rows": int(keep.sum()),
        "reasons": counts(reason[~keep]),
        "datasets": _datasets(pool, keep, sources or {}),
        "winnow": installed("winnow"),
        **lineage,
    }
    write_json(folder / "lineage.json", facts, sort_keys=False)
    write_json(folder / "croissant.json", croissant.metadata(folder, facts), sort_keys=False)


def _datasets(pool: Pool, keep: np.ndarray, sources: Mapping[str, Any]) -> dict[str, Any]:
    """Of each dataset of the pool: its folder, its index, how many rows it has and how many are held."""
    found = {}
    for part in pool.parts:
        held = int(keep[part.start : part.start + part.rows].sum())
        about = {"role": part.folder.parent.name, "digest": pool.digests[part.name], "rows": part.rows}
        found[part.name] = {**about, "held": held, "source": sources.get(part.name, {"source": part.name})}
    return found


def counts(values: Iterable[object]) -> dict[str, int]:
    """Value -> how often it occurs, the most frequent first."""
    found = Counter(map(str, values))
    return {name: found[name] for name in sorted(found, key=lambda name: (-found[name], name))}
