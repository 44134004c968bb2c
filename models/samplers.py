"""How scores become a sub-batch: unique indices (k,) into the super-batch of B candidates."""

import torch
from torch import Generator, Tensor


def top_k(scores: Tensor, k: int) -> Tensor:
    """The k highest scores (RHO-LOSS, arXiv 2206.07137), in candidate order; of equal scores the earlier candidate wins.

    Args:
        scores: (B,), finite.
        k: how many to take, 1 <= k <= B.

    Raises:
        ValueError: for k out of range or a score that is not finite.
    """
    _check(scores, k)
    order = torch.sort(scores, descending=True, stable=True).indices
    return order[:k].sort().values


def softmax(scores: Tensor, k: int, generator: Generator) -> Tensor:
    """k draws without replacement with probabilities softmax(scores) (Bad Students, arXiv 2312.05328), in candidate order.

    Gumbel top-k: adding independent Gumbel noise and taking the k largest draws the same distribution as sampling one at a
    time, without an exponential that could overflow. The noise comes from `generator` on the CPU, so a GPU picks the same.

    Args:
        scores: (B,), finite.
        k: how many to draw, 1 <= k <= B.
        generator: a CPU generator.

    Raises:
        ValueError: for k out of range or a score that is not finite.
    """
    _check(scores, k)
    uniform = torch.rand(len(scores), generator=generator, dtype=torch.float64)
    gumbel = -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))
    return top_k(scores.detach().double().cpu() + gumbel, k).to(scores.device)


def _check(scores: Tensor, k: int) -> None:
    if scores.ndim != 1:
        raise ValueError(f"scores: shape {tuple(scores.shape)}; one score a candidate is wanted, (B,)")
    if not 1 <= k <= len(scores):
        raise ValueError(f"k: {k} of {len(scores)} candidates; allowed: 1 to {len(scores)}")
    if not torch.isfinite(scores).all():
        bad = (~torch.isfinite(scores)).nonzero().flatten().tolist()
        raise ValueError(f"scores: not finite at candidates {bad[:8]}; selecting on NaN would hide a diverged run")
