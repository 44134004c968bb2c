"""What one step costs in FLOPs, and how many steps a budget buys. Counted on the meta device with the real batch sizes, once."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.flops import measure, on_meta
from models.methods import Batch, Objective
from stages.params import Method, Policy, View
from stages.training.examples import Examples
from stages.training.scorers import Reference, halves, score_views
from stages.training.selection import compares, criterion, scores_now, super_batch


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step: scoring the super-batch, training on the sub-batch (forward and backward)."""

    score: int
    train: int

    @property
    def total(self) -> int:
        return self.score + self.train


def step_flops(
    objective: Objective,
    recipe: Method,
    policy: Policy,
    data: Examples,
    proxy: Objective | None = None,
    reference: Reference | None = None,
    online: Objective | None = None,
) -> StepFlops:
    """Count one step of a method under a policy; what a proxy's or an online reference's own training costs is part of scoring."""
    candidates, score = super_batch(recipe, policy), 0
    views = score_views(recipe, policy)
    if scores_now(policy):
        score += forward_flops(proxy or objective, views, candidates, data, policy.patch)
    if proxy:
        score += train_flops(proxy, recipe, policy, data)
    if online:
        score += forward_flops(online, views, candidates, data, policy.patch) + train_flops(online, recipe, policy, data)
    if reference and reference.objective is not None:
        afresh = compares(policy, reference.objective.PAIR)
        if afresh or (policy.sampler == "joint" and "reference" in criterion(policy).NEEDS):
            score += pair_flops(reference, candidates, afresh)
    return StepFlops(score, train_flops(objective, recipe, policy, data))


def train_flops(objective: Objective, recipe: Method, policy: Policy, data: Examples) -> int:
    """FLOPs of one step on a sub-batch: forward and backward, in the parts that it is trained in."""
    twin = on_meta(objective).train()
    parts = halves(recipe.views, policy)
    batches = [meta_batch(views, recipe.batch_size // len(parts), data, patch) for views, patch in parts]
    with torch.device("meta"):
        return measure(lambda: twin(*batches).example.mean().backward())


def pair_flops(reference: Reference, candidates: int, afresh: bool) -> int:
    """FLOPs of the reference's pairs, or its losses `afresh`, among B candidates from its cached embeddings."""
    if reference.embeddings is None or reference.objective is None:
        return 0
    twin = on_meta(reference.objective)
    first, second = (torch.zeros(candidates, side.shape[1], device="meta") for side in reference.embeddings)
    with torch.no_grad(), torch.device("meta"):
        return measure(lambda: twin.compare(first, second) if afresh else twin.pairs(first, second))  # type: ignore[operator]


def forward_flops(objective: nn.Module, views: dict[str, View], count: int, data: Examples, patch: int | None = None) -> int:
    """FLOPs of scoring `count` examples at once: a forward in eval mode, without gradient."""
    twin = on_meta(objective).eval()
    batch = meta_batch(views, count, data, patch)
    with torch.no_grad(), torch.device("meta"):
        return measure(lambda: twin(batch))


def meta_batch(views: dict[str, View], count: int, data: Examples, patch: int | None = None) -> Batch:
    """A batch of the right shapes without data."""
    size = data.pixels.size

    def draw(view: View) -> Tensor:
        side = view.size or size
        return torch.zeros(count, 3, side, side, device="meta")

    labels = torch.zeros(count, dtype=torch.long, device="meta")
    tokens = None
    if data.tokens is not None:
        tokens = torch.zeros(count, data.tokens.shape[1], dtype=torch.long, device="meta")
    return Batch({name: [draw(view) for _ in range(view.count)] for name, view in views.items()}, labels, tokens, patch)


def steps_within(budget: float, already: int, step: StepFlops) -> int:
    """How many whole steps fit into the budget after `already` FLOPs.

    Raises:
        ValueError: if not even one step fits.
    """
    steps = int((budget - already) // step.total)
    if steps < 1:
        raise ValueError(
            f"pretrain.budget: {budget:.4g} FLOPs; curation's and the reference's share is {already:.4g}, one step {step.total:.4g}: "
            f"give at least {already + step.total:.4g}"
        )
    return steps
