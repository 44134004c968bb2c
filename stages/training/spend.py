"""What one step costs in FLOPs, and how many steps a budget buys. Counted on the meta device with the real batch sizes, once."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.flops import measure, on_meta
from models.methods import Batch
from stages.params import Method, Policy, View
from stages.training.examples import Examples
from stages.training.selection import criterion, super_batch


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step: scoring the super-batch (forward), training on the sub-batch (forward and backward)."""

    score: int
    train: int

    @property
    def total(self) -> int:
        return self.score + self.train


def step_flops(objective: nn.Module, recipe: Method, policy: Policy, data: Examples) -> StepFlops:
    """Count one step of a method under a policy."""
    score = 0
    if "learner" in criterion(policy).NEEDS:
        score = forward_flops(objective, recipe.score_views, super_batch(recipe, policy), data)
    twin = on_meta(objective).train()
    batch = meta_batch(recipe.views, recipe.batch_size, data)
    with torch.device("meta"):
        train = measure(lambda: twin(batch).example.mean().backward())
    return StepFlops(score, train)


def forward_flops(objective: nn.Module, views: dict[str, View], count: int, data: Examples) -> int:
    """FLOPs of scoring `count` examples at once: a forward in eval mode, without gradient."""
    twin = on_meta(objective).eval()
    batch = meta_batch(views, count, data)
    with torch.no_grad(), torch.device("meta"):
        return measure(lambda: twin(batch))


def meta_batch(views: dict[str, View], count: int, data: Examples) -> Batch:
    """A batch of the right shapes without data."""
    size = data.pixels.size

    def draw(view: View) -> Tensor:
        side = view.size or size
        return torch.zeros(count, 3, side, side, device="meta")

    labels = torch.zeros(count, dtype=torch.long, device="meta")
    tokens = None
    if data.tokens is not None:
        tokens = torch.zeros(count, data.tokens.shape[1], dtype=torch.long, device="meta")
    return Batch({name: [draw(view) for _ in range(view.count)] for name, view in views.items()}, labels, tokens)


def steps_within(budget: float, already: int, step: StepFlops) -> int:
    """How many whole steps fit into the budget after `already` FLOPs.

    Raises:
        ValueError: if not even one step fits.
    """
    steps = int((budget - already) // step.total)
    if steps < 1:
        raise ValueError(
            f"pretrain.budget: {budget:.4g} FLOPs; the reference's share is {already:.4g} and one step {step.total:.4g}: "
            f"give at least {already + step.total:.4g}"
        )
    return steps
