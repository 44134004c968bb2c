"""A finished reference on disk, results/reference/models/METHOD: the one writer and the one reader.

method.safetensors       the whole objective, heads included
model.safetensors        its encoder in timm's layout, with config.json
pool_model.safetensors   the objective that was trained on the pool itself, with `reference.pool_model`
losses.parquet           uid, loss and pool_model_loss of each example of the pool version
embeddings.safetensors   first and second (n, E), both sides of a method with pairs
reference.json           `Record`: what the objective is built from, and FLOPs spent
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models import methods
from models.methods import Objective
from winnow.config.parse import plugin_config
from winnow.config.schema import Backbone, Params
from winnow.pipeline.files import read_json, write_json
from winnow.selection.reference import Reference
from winnow.training.build import build_objective
from winnow.training.weights import load_weights, save_encoder, save_weights

WHOLE, POOL_MODEL = "method.safetensors", "pool_model.safetensors"
LOSSES, EMBEDDINGS, RECORD = "losses.parquet", "embeddings.safetensors", "reference.json"
MEND = "make it again with: dvc repro -f reference"
TRAIN, SCORE = "train", "score"  # what FLOPs were spent on: training the model, applying it to the pool
PURPOSES = {WHOLE: TRAIN, POOL_MODEL: f"pool_model_{TRAIN}"}  # file of weights -> the training's FLOPs


@dataclass
class Record:
    """What a reference is built from, and its `flops` by purpose, those of a pool model with a prefix."""

    method: str
    settings: dict[str, Any]
    backbone: dict[str, Any]
    classes: int
    flops: dict[str, int]

    @classmethod
    def of(cls, params: Params, method: str, classes: int, flops: dict[str, int]) -> "Record":
        whole = asdict(params.backbones[str(params.reference.backbone)])
        # No reference starts from weights.
        backbone = {name: whole[name] for name in ("name", "image_size", "kwargs")}
        return cls(method, dict(params.methods[method].settings), backbone, classes, flops)

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """The record in a folder.

        Raises:
            ValueError: naming the file and the mend, if there is none or it lacks a key.
        """
        path = folder / RECORD
        try:
            record = cls(**read_json(path, MEND))
            missing = {TRAIN, SCORE} - set(record.flops)
            Backbone(**record.backbone)
        except FileNotFoundError:
            raise ValueError(f"{path}: no finished reference there; {MEND}") from None
        except TypeError as error:
            raise ValueError(f"{path}: no record of a reference ({error}); {MEND}") from None
        if missing:
            raise ValueError(f"{path}: lacks flops.{min(missing)}; {MEND}")
        return record

    def build(self, seed: int) -> Objective:
        """The objective, initialised from `seed` alone."""
        return build_objective(self.method, self.settings, Backbone(**self.backbone), self.classes, seed)

    def difference(self, expected: "Record") -> str | None:
        """How this model differs from another record's, in words for an error; None where it does not."""
        ours, theirs = self._model(), expected._model()
        for key, value in ours.items():
            if value != theirs[key]:
                return f"has {key} {value}, and this run {theirs[key]}"
        return None

    def _model(self) -> dict[str, Any]:
        """All that determines the model, settings with their defaults."""
        key = f"methods.{self.method}.settings"
        settings = asdict(plugin_config(methods.load(self.method).Config, key, self.settings))
        backbone = asdict(Backbone(**self.backbone))
        return {"method": self.method, "settings": settings, "backbone": backbone, "classes": self.classes}

    def spent(self, pool_model: bool) -> int:
        """FLOPs of training and applying the reference, with or without its pool model.

        Raises:
            ValueError: if there is no pool model.
        """
        purposes = [TRAIN, SCORE]
        if pool_model:
            purposes += [f"pool_model_{purpose}" for purpose in purposes]
        if missing := [purpose for purpose in purposes if purpose not in self.flops]:
            raise ValueError(f"reference.pool_model: the reference has no {missing[0]}; {MEND}")
        return sum(self.flops[purpose] for purpose in purposes)


@dataclass(frozen=True)
class Judged:
    """A model's `losses` (n,) of n examples, and `embeddings` (n, E) of both sides where it has pairs."""

    losses: Tensor
    embeddings: tuple[Tensor, Tensor] | None = None


def write_record(
    folder: Path,
    record: Record,
    objective: Objective,
    uids: Sequence[str],
    judged: Judged,
    pool_model: tuple[Objective, Judged] | None = None,
) -> None:
    """Write all files of a reference into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = {"uid": list(uids), "loss": pa.array(judged.losses.numpy(), pa.float32())}
    if pool_model is not None:
        columns["pool_model_loss"] = pa.array(pool_model[1].losses.numpy(), pa.float32())
        save_weights(pool_model[0], folder / POOL_MODEL)
    pq.write_table(pa.table(columns), folder / LOSSES)
    if judged.embeddings is not None:
        first, second = judged.embeddings
        save_file({"first": first, "second": second}, folder / EMBEDDINGS)
    save_encoder(folder, objective.exported(), Backbone(**record.backbone))
    save_weights(objective, folder / WHOLE)
    write_json(folder / RECORD, asdict(record))


def open_objective(folder: Path, record: Record, name: str = WHOLE, seed: int = 0) -> Objective:
    """The objective that a record describes, with the weights from a file of its folder.

    Raises:
        ValueError: if the weights are missing, damaged, or those of another model.
    """
    objective = record.build(seed)
    load_weights(objective, folder / name, MEND)
    return objective


def open_reference(folder: Path, uids: Sequence[str], pairs: bool, seed: int) -> Reference:
    """The reference in a folder, on the examples with these uids (n,).

    Args:
        pairs: whether the caller will need pairs of examples.

    Raises:
        ValueError: if it was not trained, cannot be read, or lacks an example.
    """
    record = Record.read(folder)
    table = _read_losses(folder / LOSSES)
    rows = rows_of(table["uid"].to_pylist(), uids)
    losses = {name: _floats(table[name])[rows] for name in table.column_names if name != "uid"}
    loss, pool_model_loss = losses["loss"], losses.get("pool_model_loss")
    if not pairs:
        return Reference(loss, pool_model_losses=pool_model_loss)
    objective = open_objective(folder, record, seed=seed).eval().requires_grad_(False)
    try:
        saved = load_file(folder / EMBEDDINGS)
        sides = saved["first"][rows], saved["second"][rows]
    except (OSError, SafetensorError, KeyError) as error:
        raise ValueError(f"{folder / EMBEDDINGS}: not readable ({_first_line(error)}); {MEND}") from None
    return Reference(loss, sides, objective, pool_model_loss)


def rows_of(known: Sequence[str], uids: Sequence[str]) -> Tensor:
    """The rows (n,) of these uids (n,), a part of the sorted uids that the reference judged.

    Raises:
        ValueError: if the reference did not judge one of them.
    """
    judged, requested = np.array(known, "S32"), np.array(list(uids), "S32")
    rows = np.searchsorted(judged, requested)
    if (rows == len(judged)).any() or (judged[rows] != requested).any():
        raise ValueError("results/reference: made for another version of the pool; run: dvc repro reference")
    return torch.from_numpy(rows)


def _read_losses(path: Path) -> pa.Table:
    try:
        table = pq.ParquetFile(path).read()
    except (OSError, pa.ArrowException) as error:
        raise ValueError(f"{path}: not readable ({_first_line(error)}); {MEND}") from None
    if missing := {"uid", "loss"} - set(table.column_names):
        raise ValueError(f"{path}: lacks the column {min(missing)}; {MEND}")
    return table


def _floats(column: Any) -> Tensor:
    return torch.from_numpy(column.to_numpy().astype(np.float32))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
