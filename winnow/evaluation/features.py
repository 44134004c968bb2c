"""Frozen features, and a kNN classifier on them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.encoders import normalisation
from winnow.config.schema import Params, View
from winnow.loading.examples import Examples, examples
from winnow.loading.pixels import MEND
from winnow.loading.views import make
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool
from winnow.training.device import generator

PLAIN = {"image": View()}
CHUNK, SIMILARITIES = 1000, 2**28  # queries of kNN at once, and their similarities, 1 GB


@torch.no_grad()
def outputs(
    network: nn.Module, call: Callable[[Tensor], Tensor], data: Examples, fabric: Fabric, chunk: int = 500
) -> Tensor:
    """`call` on the plain images, in eval mode and in chunks, as (n, K) float32 on the CPU.

    The images are normalised as `network` needs it; its mode is restored.
    """
    training, by = network.training, normalisation(network)
    network.eval()
    out = []
    for start in range(0, len(data), chunk):
        images = data.pixels.get(np.arange(start, min(start + chunk, len(data))))
        refuse_lost(data)
        view = make(images.to(fabric.device), PLAIN, generator("plain"), by)["image"][0]
        with fabric.autocast():
            out.append(call(view).float().cpu())
    network.train(training)
    return torch.cat(out)


def refuse_lost(data: Examples) -> None:
    """Refuse stand-ins: they are good enough to train on, but results on them are not comparable.

    Raises:
        ValueError: if a picture is lost.
    """
    for uid, reason in data.pixels.lost.items():
        lost = f"{data.pixels.pool.folder}: uid {uid} is lost ({reason}), and results need it"
        raise ValueError(f"{lost}; {MEND}")


def features(encoder: nn.Module, data: Examples, fabric: Fabric) -> Tensor:
    """Features (n, D) of the plain images."""
    return outputs(encoder, encoder, data, fabric)


def knn_votes(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, ks: Sequence[int], temperature: float = 0.07
) -> dict[int, Tensor]:
    """For each k the votes (M, classes) of the k nearest by cosine, each exp(similarity / temperature), as in
    DINO's protocol (arXiv 1805.01978). Where the bank holds fewer than k, all of them vote.

    Args:
        bank: features (N, D) with labels (N,).
        queries: features (M, D).
    """
    bank, classes = F.normalize(bank, dim=1), int(bank_labels.max()) + 1
    most, rows = min(max(ks), len(bank)), max(1, min(CHUNK, SIMILARITIES // len(bank)))
    votes: dict[int, list[Tensor]] = {k: [] for k in ks}
    for part in F.normalize(queries, dim=1).split(rows):
        near, index = (part @ bank.T).topk(most, dim=1)
        weights, labels = (near / temperature).exp(), bank_labels[index]
        for k, found in votes.items():
            found.append(torch.zeros(len(part), classes).scatter_add_(1, labels[:, :k], weights[:, :k]))
    return {k: torch.cat(found) for k, found in votes.items()}


def knn_top1(bank: Tensor, bank_labels: Tensor, queries: Tensor, labels: Tensor, k: int = 20) -> float:
    """Top-1 of those votes for queries (M, D) with labels (M,)."""
    votes = knn_votes(bank, bank_labels, queries, [k])[k]
    return float((votes.argmax(dim=1) == labels).float().mean())


def open_split(
    workspace: Workspace,
    pool: Pool,
    task_set: str,
    split: str,
    size: int,
    params: Params,
    most: int | None = None,
) -> Examples:
    """The examples of a split of a task set, at most `most` of them; labelled, and no arm trained on them.

    Args:
        pool: the set's images (`winnow.pool.pool.open_set`).

    Raises:
        ValueError: if an example has no label.
    """
    chosen = uid_files.load(workspace.split(task_set, split))[:most]
    return examples(pool, chosen, size, params, frozenset({"labels"}))


def top_k(logits: Tensor, labels: Tensor, k: int) -> float:
    """Share of rows (n, classes) whose label (n,) is among the k highest logits, rounded to six places."""
    return round(float(top_k_hits(logits, labels, k).mean()), 6)


def top_k_hits(logits: Tensor, labels: Tensor, k: int) -> np.ndarray:
    """Whether the label (n,) of each row (n, classes) is among the k highest logits, (n,) bool."""
    hits = logits.topk(min(k, logits.shape[1]), dim=1).indices == labels[:, None]
    return hits.any(dim=1).numpy()
