"""What a step costs in FLOPs, counted once on the meta device, and how many steps a budget buys."""

import bisect
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.flops import measure, on_meta
from models.methods import Batch, Objective
from winnow.config.derive import scores_now
from winnow.config.schema import Method, Policy, View
from winnow.loading.examples import Examples
from winnow.selection.policy import batch_parts, criterion, in_batch, score_views, super_batch
from winnow.selection.reference import Reference
from winnow.training.schedule import held_steps, hold


@dataclass(frozen=True)
class StepFlops:
    """FLOPs of one step: scoring the super-batch, training on the sub-batch (forward and backward).

    `held` are those of training while the encoder is held: its forward, and the heads.
    """

    score: int
    train: int
    held: int = 0

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
    scored: int | None = None,
) -> StepFlops:
    """Count one step of a method under a policy, with the real batch sizes.

    The training of a proxy or an online reference counts as scoring.

    Args:
        scored: how many candidates are scored; None for all of the policy's super-batch.
    """
    candidates, score = super_batch(recipe, policy) if scored is None else scored, 0
    views = score_views(recipe, policy)
    if scores_now(policy):
        score += forward_flops(proxy or objective, views, candidates, data, policy.patch_size)
    if proxy:
        score += train_flops(proxy, recipe, policy, data)
    if online:
        score += forward_flops(online, views, candidates, data, policy.patch_size)
        score += train_flops(online, recipe, policy, data)
    if reference and reference.objective is not None:
        among = in_batch(policy, reference.objective.PAIR)
        if among or (policy.sampler == "joint" and "reference" in criterion(policy).NEEDS):
            score += pair_flops(reference, candidates, among)
    held = train_flops(objective, recipe, policy, data, held=True) if recipe.freeze else 0
    return StepFlops(score, train_flops(objective, recipe, policy, data), held)


def train_flops(
    objective: Objective, recipe: Method, policy: Policy, data: Examples, held: bool = False
) -> int:
    """FLOPs of one step on a sub-batch: forward and backward, in the parts that it is trained in.

    Args:
        held: whether the encoder is held, and only what stands on it is trained.
    """
    meta_copy = on_meta(objective).train()
    if held:
        assert isinstance(meta_copy, Objective)
        hold(meta_copy, list(meta_copy.trained().parameters()), held)
    parts = batch_parts(recipe.views, policy)
    size = recipe.batch_size // len(parts)
    batches = [meta_batch(views, size, data, patch_size) for views, patch_size in parts]
    with torch.device("meta"):
        return measure(lambda: meta_copy(*batches).example.mean().backward())


def pair_flops(reference: Reference, candidates: int, in_batch: bool) -> int:
    """FLOPs of the reference's pairs, or of its losses, among B candidates from its cached embeddings."""
    if reference.embeddings is None or reference.objective is None:
        return 0
    meta_copy = on_meta(reference.objective)
    first, second = (torch.zeros(candidates, side.shape[1], device="meta") for side in reference.embeddings)
    compared = meta_copy.compare if in_batch else meta_copy.pairs
    with torch.no_grad(), torch.device("meta"):
        return measure(lambda: compared(first, second))  # type: ignore[operator]


def forward_flops(
    objective: nn.Module, views: dict[str, View], count: int, data: Examples, patch_size: int | None = None
) -> int:
    """FLOPs of scoring `count` examples at once: a forward in eval mode, without gradient."""
    meta_copy = on_meta(objective).eval()
    batch = meta_batch(views, count, data, patch_size)
    with torch.no_grad(), torch.device("meta"):
        return measure(lambda: meta_copy(batch))


def meta_batch(views: dict[str, View], count: int, data: Examples, patch_size: int | None = None) -> Batch:
    """A batch of the same shapes, without data."""
    size = data.pixels.size

    def draw(view: View) -> Tensor:
        side = view.size or size
        return torch.zeros(count, 3, side, side, device="meta")

    labels = torch.zeros(count, dtype=torch.long, device="meta")
    tokens = None
    if data.tokens is not None:
        tokens = torch.zeros(count, data.tokens.shape[1], dtype=torch.long, device="meta")
    drawn = {name: [draw(view) for _ in range(view.count)] for name, view in views.items()}
    return Batch(drawn, labels, tokens, patch_size)


def trained_flops(step: StepFlops, steps: int, held: int) -> int:
    """FLOPs of training for so many steps, the first `held` of them with the encoder held."""
    held = min(held, steps)
    return held * step.held + (steps - held) * step.train


def steps_within(budget: float, charged: int, step: StepFlops, recipe: Method | None = None) -> int:
    """How many whole steps fit into the budget after `charged` FLOPs.

    Args:
        recipe: of which a share of the steps may be cheaper, because the encoder is held.

    Raises:
        ValueError: if not even one step fits.
    """
    steps = int((budget - charged) // step.total)
    if recipe and recipe.freeze:

        def fits(count: int) -> bool:
            spent = count * step.score + trained_flops(step, count, held_steps(recipe, count))
            return charged + spent <= budget

        most = max(0, int((budget - charged) // (step.score + min(step.train, step.held)))) + 1
        steps = bisect.bisect_left(range(1, most + 1), True, key=lambda count: not fits(count))
    if steps < 1:
        shares = f"version's, reference's and weights' share is {charged:.4g}, one step {step.total:.4g}"
        least = f"{charged + step.total:.4g}"
        raise ValueError(f"pretrain.budget: {budget:.4g} FLOPs; {shares}: give at least {least}")
    return steps
