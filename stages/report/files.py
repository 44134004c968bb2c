"""What the comparison reads of an arm: files by name, never by a glob, so that arms left over on disk are not seen."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Trace:
    """What an arm trained on, in order: `uids[index[i]]` at `step[i]` with `score[i]`, all of shape (n,)."""

    uids: list[str]
    index: np.ndarray
    step: np.ndarray
    score: np.ndarray


def require(root: Path, stage: str, name: str, arm: str | None = None) -> Path:
    """results/STAGE/[ARM/]NAME.

    Raises:
        ValueError: when it is not there, with the command that makes it.
    """
    path = root / "results" / stage / (arm or "") / name
    if not path.is_file():
        address = f"{stage}@{arm}" if arm else stage
        raise ValueError(f"{path}: no such file, and the comparison needs it; make it with: dvc repro {address}")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        ValueError: when the file holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not valid JSON ({error}); make it again with: dvc repro -f") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: a JSON object is wanted, got {type(value).__name__}; make it again with: dvc repro -f")
    return value


def curve(root: Path, arm: str) -> tuple[list[float], list[float]]:
    """curve.csv: FLOPs spent and the kNN top-1 on val, at each reading."""
    with require(root, "pretrain", "curve.csv", arm).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [float(row["flops"]) for row in rows], [float(row["val_top1"]) for row in rows]


def trace(root: Path, arm: str) -> Trace:
    """trace.parquet, without its losses."""
    path = require(root, "pretrain", "trace.parquet", arm)
    table = pq.read_table(path, columns=["uid", "step", "score", "selected"], read_dictionary=["uid"])
    table = table.filter(table["selected"])
    column = table["uid"].unify_dictionaries().combine_chunks()
    if not isinstance(column, pa.DictionaryArray):  # what combine_chunks gives for an empty table depends on the version
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.string()).dictionary_encode()
    index = column.indices.to_numpy().astype(np.int64)
    return Trace(column.dictionary.to_pylist(), index, table["step"].to_numpy(), table["score"].to_numpy())
