"""trace.parquet: which example was trained on at which step, and why; the one writer and the one reader.

A row for each example trained on and for a sample of the rejected, step by step, those trained on first:
step, uid, selected, rank, learner_loss, reference_loss, score, train_loss. Losses and scores are NaN where
the policy has none; `rank` is that of the score among the candidates, 0 the highest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FILE = "trace.parquet"
FLOATS = ("learner_loss", "reference_loss", "score", "train_loss")


@dataclass(frozen=True)
class Trace:
    """What a run was trained on, in order: `uids[index[i]]` at `step[i]` with `score[i]`, all of shape (n,).

    `rejected_score` (m,) are the scores of the sample of the rejected.
    """

    uids: list[str]
    index: np.ndarray
    step: np.ndarray
    score: np.ndarray
    rejected_score: np.ndarray


def write_trace(
    path: Path, uids: Sequence[str], trained: dict[str, np.ndarray], rejected: dict[str, np.ndarray]
) -> None:
    """Write a trace.

    Args:
        uids: of the examples that `index` points into.
        trained: column -> (n,): step, index, rank, and `FLOATS`.
        rejected: the same columns (m,) of the sample of the rejected; empty arrays where there is none.
    """
    parts = (trained, rejected) if len(rejected["step"]) else (trained,)
    rows = {name: np.concatenate([part[name] for part in parts]) for name in trained}
    selected = np.concatenate([np.full(len(part["step"]), part is trained) for part in parts])
    order = np.lexsort((~selected, rows["step"]))
    columns: dict[str, Any] = {"step": pa.array(rows["step"][order], pa.int32())}
    columns["uid"] = pa.array(uids).take(pa.array(rows["index"][order], pa.int64())).dictionary_encode()
    columns["selected"] = pa.array(selected[order])
    columns["rank"] = pa.array(rows["rank"][order], pa.int32())
    for name in FLOATS:
        columns[name] = pa.array(rows[name][order], pa.float32())
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_trace(path: Path, mend: str = "make it with: dvc repro pretrain") -> Trace:
    """Read a trace, without its losses.

    Raises:
        ValueError: naming the file and the mend, if there is none or it cannot be read.
    """
    try:
        file = pq.ParquetFile(path, read_dictionary=["uid"])
        table = file.read(columns=["uid", "step", "score", "selected"])
        chosen = table["selected"].to_numpy()
        column = table["uid"].filter(table["selected"]).unify_dictionaries().combine_chunks()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ValueError(f"{path}: no readable trace ({str(error).splitlines()[0]}); {mend}") from None
    # What combine_chunks gives for an empty table depends on the version of pyarrow.
    if not isinstance(column, pa.DictionaryArray):
        column = column.chunk(0) if column.num_chunks else pa.array([], pa.string()).dictionary_encode()
    index = column.indices.to_numpy().astype(np.int64)
    step, score = table["step"].to_numpy(), table["score"].to_numpy()
    return Trace(column.dictionary.to_pylist(), index, step[chosen], score[chosen], score[~chosen])


def replayed(path: Path, uids: Sequence[str]) -> np.ndarray:
    """The examples that a trace's run was trained on, in its order, as indices (n,) into `uids`.

    Raises:
        ValueError: if there is no trace, or it names an example that is not among `uids`.
    """
    trace = read_trace(path, "run the arm that `replay_from` names first")
    row = {uid: index for index, uid in enumerate(uids)}
    used = [trace.uids[i] for i in np.unique(trace.index)]
    if unknown := [uid for uid in used if uid not in row]:
        missing = f"{path}: {len(unknown)} of its examples are not in this version ({min(unknown)}, ...)"
        raise ValueError(f"{missing}; replay it on the version that it was trained on")
    return np.array([row.get(uid, -1) for uid in trace.uids], np.int64)[trace.index]
