"""Frozen features, and the kNN reading that follows a run on the val split."""

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.data.views import make
from stages.params import ROOT, Run, View
from stages.training.device import generator
from stages.training.examples import Examples, examples

PLAIN = {"image": View()}


@torch.no_grad()
def outputs(network: nn.Module, call: Callable[[Tensor], Tensor], data: Examples, fabric: Fabric, chunk: int = 500) -> Tensor:
    """`call` on the plain images, chunk by chunk, as (n, K) float32 on the CPU; in eval mode, and `network` keeps its mode."""
    training = network.training
    network.eval()
    out = []
    for start in range(0, len(data), chunk):
        images = data.pixels.get(np.arange(start, min(start + chunk, len(data))))
        refuse_lost(data)
        view = make(images.to(fabric.device), PLAIN, generator("plain"))["image"][0]
        with fabric.autocast():
            out.append(call(view).float().cpu())
    network.train(training)
    return torch.cat(out)


def refuse_lost(data: Examples) -> None:
    """A stand-in is good enough to train on; what is measured on one is not comparable.

    Raises:
        ValueError: if a picture is lost.
    """
    for uid, reason in data.pixels.lost.items():
        raise ValueError(f"{data.pixels.pool.folder}: uid {uid} is lost ({reason}), and results need it; run: dvc repro -f ingest")


def features(encoder: nn.Module, data: Examples, fabric: Fabric) -> Tensor:
    """Features (n, D) of the plain images."""
    return outputs(encoder, encoder, data, fabric)


def knn_top1(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, k: int = 20, temperature: float = 0.07) -> float:
    """Top-1 of a weighted k-nearest-neighbour vote on cosine similarity (Wu et al., arXiv 1805.01978; DINO's protocol).

    Args:
        bank: (N, D) features with labels (N,); queries: (M, D) with labels (M,).
    """
    similarity = F.normalize(queries, dim=1) @ F.normalize(bank, dim=1).T
    near, index = similarity.topk(min(k, len(bank)), dim=1)
    votes = torch.zeros(len(queries), int(bank_labels.max()) + 1)
    votes.scatter_add_(1, bank_labels[index], (near / temperature).exp())
    return float((votes.argmax(dim=1) == labels).float().mean())


def open_split(pool: Pool, name: str, size: int, run: Run, most: int | None = None) -> Examples:
    """A task split by its name, data/splits/NAME.npy: labelled, held out from all training; at most `most` examples.

    Raises:
        ValueError: if an example has no label.
    """
    chosen = uid_files.load(ROOT / "data/splits" / f"{name}.npy")[:most]
    return examples(pool, chosen, size, run, frozenset({"labels"}))


def top_k(logits: Tensor, labels: Tensor, k: int) -> float:
    """Share of rows (n, classes) whose label (n,) is among the k highest logits, rounded to six places."""
    hits = logits.topk(min(k, logits.shape[1]), dim=1).indices == labels[:, None]
    return round(float(hits.any(dim=1).float().mean()), 6)
