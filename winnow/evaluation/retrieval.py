"""Image-text retrieval on held-out pictures, and zero-shot classification by names (arXiv 2103.00020)."""

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
    same = (data.tokens[:, None, :] == data.tokens[None, :, :]).all(dim=-1)
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


def recall(similarity: Tensor, same: Tensor, k: int) -> float:
    """The share of rows (n, m) with one of their `same` (n, m) columns in the k most similar; six places."""
    near = similarity.topk(min(k, similarity.shape[1]), dim=1).indices
    return round(float(same.gather(1, near).any(dim=1).float().mean()), 6)
