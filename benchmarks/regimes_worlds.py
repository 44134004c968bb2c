"""The data of benchmarks/regimes.py: a pool in which a share of labels or captions is wrong, images that are
trusted, and a test set, all in memory.
"""

import hashlib
import io
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from models.methods import Objective
from winnow.config.compose import composed
from winnow.config.load import parse
from winnow.config.schema import Params
from winnow.evaluation.features import outputs, top_k
from winnow.evaluation.retrieval import retrieval
from winnow.ingest.ingest import ingest_source
from winnow.loading.examples import Examples
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool
from winnow.training.build import open_for
from winnow.training.device import launch

WORKSPACE = Workspace(Path(__file__).resolve().parent.parent)
SMALL = "test_byobnet"  # the backbone of every reference
LEARNER = "test_resnet"
TRUSTED = {"supervised": 12_000, "siglip": 2_000}  # training images that may be trusted
PAIRS = 1_000  # of the test split, among which recall is measured
OWN = f"+backbone@backbones.{LEARNER}={LEARNER}"
RUN = ["run.threads=1", "run.precision=bf16-mixed"]


@dataclass
class World:
    """One cell with one seed: `union` holds the pool's `count` examples and, after them, the trusted ones.

    `wrong` (count,) tells which of the pool's labels or captions are wrong, and `read` gives the accuracy of
    a trained method on the test set.
    """

    params: Params
    fabric: Fabric
    method: str
    learner: str
    union: Examples
    count: int
    wrong: np.ndarray
    read: Callable[[Objective], float]

    @property
    def parts(self) -> dict[str, np.ndarray]:
        """Version -> its indices into `union`."""
        return {"pool": np.arange(self.count), "reference": np.arange(self.count, len(self.union))}

    @property
    def pool(self) -> Examples:
        """The pool's examples alone."""
        return part(self.union, self.parts["pool"])


class InMemory:
    """uint8 pictures (n, 3, S, S), with what a training loop asks of `winnow.loading.pixels.Source`."""

    def __init__(self, pictures: Tensor) -> None:
        self.pictures, self.size = pictures, pictures.shape[-1]
        self.lost: dict[str, str] = {}

    def get(self, indices: np.ndarray) -> Tensor:
        return self.pictures[torch.from_numpy(indices)]

    def get_async(self, indices: np.ndarray) -> "Future[Tensor]":
        done: Future[Tensor] = Future()
        done.set_result(self.get(indices))
        return done

    def substituted_indices(self, indices: np.ndarray) -> np.ndarray:
        return indices

    def state(self) -> dict[str, Any]:
        return {}


def in_memory(pictures: Tensor, labels: Tensor, tokens: Tensor | None, classes: int) -> Examples:
    """Examples of pictures (n, 3, S, S) in memory."""
    names = [str(number) for number in range(len(labels))]
    return Examples(cast(Any, InMemory(pictures)), labels, tokens, names, classes)


def part(data: Examples, indices: np.ndarray) -> Examples:
    """Some of the examples."""
    rows, tokens = torch.from_numpy(indices), data.tokens
    return in_memory(
        data.pixels.get(indices), data.labels[rows], None if tokens is None else tokens[rows], data.classes
    )


def labels(path: Path, seed: int, reference: int, wrong: float) -> World:
    """CIFAR-10 with wrong labels, from a parquet file; supervised, read by the classifier's top-1."""
    train, test = _cifar(path)
    size = train.pixels.size
    sizes = [f"backbones.{name}.image_size={size}" for name in (LEARNER, SMALL)]
    given = ["experiment=curation_policies", OWN, *sizes]
    params = parse(composed([*given, f"seed={seed}", *RUN], WORKSPACE.conf))
    union, count = _shuffled(train, "supervised", seed, reference)
    changed, draw = _changed(count, seed, wrong)
    shift = draw.integers(1, train.classes, count) * changed
    union.labels[:count] = (union.labels[:count] + torch.from_numpy(shift)) % train.classes
    fabric = launch(params.run)

    def read(objective: Objective) -> float:
        logits = outputs(objective, objective.classify, test, fabric)  # type: ignore[arg-type]
        return top_k(logits, test.labels, 1)

    return World(params, fabric, "supervised", LEARNER, union, count, changed, read)


def captions(seed: int, reference: int, wrong: float) -> World:
    """Drawings of emoji, with captions that belong to other drawings of the pool; SigLIP, read by the mean of
    both recalls at 1 among `PAIRS` test pairs.
    """
    params = parse(
        composed(
            ["dataset=emoji", "experiment=captions", "methods.siglip.lr=0.002", OWN, *RUN], WORKSPACE.conf
        )
    )
    params = replace(params, seed=seed)
    pool, train, test = _emoji(params)
    union, count = _shuffled(train, "siglip", seed, reference)
    changed, draw = _changed(count, seed, wrong)
    tokens, rows = cast(Tensor, union.tokens), np.flatnonzero(changed)
    order = draw.permutation(len(rows))
    tokens[torch.from_numpy(rows[order])] = tokens[torch.from_numpy(rows[np.roll(order, 1)])].clone()
    fabric = launch(params.run)

    def read(objective: Objective) -> float:
        found = retrieval(objective, test, pool.classes, fabric)
        return (found["i2t_r1"] + found["t2i_r1"]) / 2

    return World(params, fabric, "siglip", LEARNER, union, count, changed, read)


def _shuffled(train: Examples, method: str, seed: int, reference: int) -> tuple[Examples, int]:
    """The pool's examples, and after them the first of those that may be trusted; the former's count."""
    order = np.random.default_rng([seed, 0]).permutation(len(train))
    trusted, pool = order[: TRUSTED[method]], order[TRUSTED[method] :]
    return part(train, np.concatenate([pool, trusted[:reference]])), len(pool)


def _changed(count: int, seed: int, share: float) -> tuple[np.ndarray, np.random.Generator]:
    draw = np.random.default_rng([seed, 1])
    return draw.random(count) < share, draw


@cache
def _cifar(path: Path) -> tuple[Examples, Examples]:
    """Its training and its test images."""
    table = pq.ParquetFile(path).read(columns=["image", "label", "split"])
    decoded = (Image.open(io.BytesIO(data)).convert("RGB") for data in table["image"].to_pylist())
    pictures = torch.from_numpy(np.stack([np.asarray(image).transpose(2, 0, 1) for image in decoded]))
    names = table["label"].to_pylist()
    classes = {name: number for number, name in enumerate(sorted(set(names)))}
    every = in_memory(pictures, torch.tensor([classes[name] for name in names]), None, len(classes))
    trains = np.array(table["split"].to_pylist()) == "train"
    return part(every, np.flatnonzero(trains)), part(every, np.flatnonzero(~trains))


def _emoji(params: Params) -> tuple[Pool, Examples, Examples]:
    """The pool of drawings, nothing of it corrupted, its training and its test pairs."""
    dataset = next(iter(params.datasets.pool.values()))
    dataset = replace(dataset, corruption=type(dataset.corruption)())
    made_of = hashlib.sha256(repr(dataset).encode()).hexdigest()[:12]
    folder = WORKSPACE.hidden / "benchmarks" / made_of
    if not folder.exists():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        ingest_source(dataset, 0, partial, lambda items, **_: items)
        partial.rename(folder)
    pool = Pool.open(folder)
    splits = np.array(pool.table["split"].to_pylist())

    def pairs(split: str) -> Examples:
        uids = sorted({pool.index.uid(int(row)) for row in np.flatnonzero(splits == split)})
        data = open_for(params, "siglip", LEARNER, pool, uids, plain=True)
        return part(data, np.arange(len(uids)))

    test = pairs("test")
    return pool, pairs("train"), part(test, np.arange(min(PAIRS, len(test))))
