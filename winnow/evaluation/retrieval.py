"""Image-text retrieval on held-out pictures, and zero-shot classification by names (arXiv 2103.00020).

A query's rank is the number of wrong candidates that are at least as similar to it as the most similar right
one, so it is found among the first k if its rank is below k. Ties count against it: embeddings that are all
the same find nothing. A caption is right for a picture if its tokens are those of the picture's own caption,
whichever picture it belongs to, for a text tower cannot tell them apart; and the other way round.
"""

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from models.methods import Batch, Objective
from models.text import tokenize
from winnow.evaluation.features import PLAIN, refuse_lost, top_k
from winnow.loading.examples import Examples
from winnow.training.device import generator

CHUNK = 500


@torch.no_grad()
def retrieval(objective: Objective, data: Examples, names: list[str], fabric: Fabric) -> dict[str, float]:
    """Recall at 1 and 5 of image to text and text to image among n pairs, and zero-shot top-1 by class names.

    A retrieved text counts as correct if its words are, even if they belong to another picture, and vice
    versa.
    """
    assert data.tokens is not None
    training = objective.training
    objective.eval()
    images, texts = _embeddings(objective, data, fabric)
    similarity = images @ texts.T
    words = wordings(data.tokens)
    same = words[:, None] == words[None, :]
    found = {f"i2t_r{k}": recall(similarity, same, k) for k in (1, 5)}
    found |= {f"t2i_r{k}": recall(similarity.T, same.T, k) for k in (1, 5)}
    prompts = tokenize([name.lower() for name in names], data.tokens.shape[1]).to(fabric.device)
    blank = torch.zeros(len(prompts), 3, data.pixels.size, data.pixels.size, device=fabric.device)
    classes = objective.embed(Batch({"image": [blank]}, prompts[:, 0], prompts))[1].float().cpu()
    objective.train(training)
    return {**found, "zero_shot_top1": top_k(images @ classes.T, data.labels, 1)}


def _embeddings(objective: Objective, data: Examples, fabric: Fabric) -> tuple[Tensor, Tensor]:
    sides: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(data), CHUNK):
        indices = np.arange(start, min(start + CHUNK, len(data)))
        batch = data.batch(indices, data.pixels.get(indices), PLAIN, generator("plain"), fabric.device)
        refuse_lost(data)
        with fabric.autocast():
            first, second = objective.embed(batch)
        sides.append((F.normalize(first.float(), dim=-1).cpu(), F.normalize(second.float(), dim=-1).cpu()))
    return torch.cat([first for first, _ in sides]), torch.cat([second for _, second in sides])


def wordings(tokens: Tensor) -> Tensor:
    """Tokens (n, L) -> a number (n,) for each caption, the same for captions with the same tokens."""
    numbers: Tensor = tokens.unique(dim=0, return_inverse=True)[1]
    return numbers


def ranks(similarity: Tensor, right: Tensor) -> Tensor:
    """Similarities (n, m) of queries and candidates, and which of these are right (n, m) -> ranks (n,)."""
    best = similarity.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    return ((similarity >= best) & ~right).sum(dim=1)


def cross_ranks(queries: Tensor, candidates: Tensor, words: Tensor, chunk: int = 1000) -> Tensor:
    """Ranks (n,) of unit-norm queries (n, E) among candidates (n, E), pairs of which have the `words` (n,) in
    common; by `chunk` queries, so that memory stays linear in n.
    """
    parts = zip(queries.split(chunk), words.split(chunk), strict=True)
    return torch.cat([ranks(part @ candidates.T, own[:, None] == words[None, :]) for part, own in parts])


def chance(words: Tensor, k: int) -> float:
    """The expected share found among the first k by an order drawn at random, to six places; words (n,)."""
    right = torch.bincount(words)[words].double()
    missed, count = torch.ones_like(right), len(words)
    for drawn in range(min(k, count)):
        missed *= ((count - right - drawn) / (count - drawn)).clamp(min=0)
    return round(float((1 - missed).mean()), 6)


def recall(similarity: Tensor, same: Tensor, k: int) -> float:
    """The share of rows (n, m) with one of their `same` (n, m) columns among the first k; six places."""
    return round(float((ranks(similarity, same) < k).float().mean()), 6)
