"""What a policy makes of a step: its criterion, candidates, the views that are scored and trained on.

A policy with more than one resolution (Flexi-JEST, arXiv 2406.17711) trains each batch in two parts, the
second at the resolution that it scores at.
"""

from dataclasses import replace
from types import ModuleType

import numpy as np
import torch
from torch import Generator

from models.methods import Batch
from winnow.config.derive import scores_now
from winnow.config.plugins import load_plugin
from winnow.config.schema import Method, Policy, View
from winnow.loading.examples import Examples
from winnow.loading.views import Images

UNIFORM = Policy(criterion="uniform")  # of references and of finetuning
Views = dict[str, View]


def criterion(policy: Policy) -> ModuleType:
    """The module of the policy's criterion: `NEEDS` and `score`."""
    module: ModuleType = load_plugin("models.criteria", policy.criterion)
    return module


def in_batch(policy: Policy, pair: str) -> bool:
    """Whether a reference must compute its losses among the candidates of a step; `pair` is its `PAIR`.

    A softmax over pairs gives more loss among more of them.
    """
    return pair == "softmax" and scores_now(policy) and "reference" in criterion(policy).NEEDS


def super_batch(recipe: Method, policy: Policy) -> int:
    """B = b / (1 - f), rounded."""
    return round(recipe.batch_size / (1 - policy.filter_ratio))


def score_views(recipe: Method, policy: Policy) -> Views:
    """The views that candidates are scored on: the recipe's, at most at the policy's resolution."""
    return shrunk(recipe.score_views, policy.resolution)


def shrunk(views: Views, size: int | None) -> Views:
    """The same views, none larger than `size` pixels."""
    if size is None:
        return views
    return {name: replace(view, size=min(view.size or size, size)) for name, view in views.items()}


def batch_parts(views: Views, policy: Policy) -> list[tuple[Views, int | None]]:
    """The views of each part that a batch is trained in, and the part's patch size."""
    whole: list[tuple[Views, int | None]] = [(views, None)]
    if not policy.multi_resolution:
        return whole
    return [*whole, (shrunk(views, policy.resolution), policy.patch_size)]


def in_parts(
    data: Examples,
    indices: np.ndarray,
    images: Images,
    views: Views,
    policy: Policy,
    noise: Generator,
    device: torch.device,
) -> list[Batch]:
    """A batch to train on, in the parts of `batch_parts`; `images` belong to `indices` (b,)."""
    parts = batch_parts(views, policy)
    size = len(indices) // len(parts)
    cuts = [slice(i * size, (i + 1) * size) for i in range(len(parts))]
    return [
        data.batch(indices[cut], images[cut], part, noise, device, patch_size)
        for cut, (part, patch_size) in zip(cuts, parts, strict=True)
    ]
