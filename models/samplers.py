"""How scores become a sub-batch: unique indices (k,) into the super-batch of B candidates."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

# Rows or columns read at once: bounds their float64 copy (8 MB at B = 8,192), however few the chunks are.
LINES = 128


def top_k(scores: Tensor, k: int, classes: Tensor | None = None) -> Tensor:
    """The k highest scores (RHO-LOSS, arXiv 2206.07137), in candidate order; of equal scores the earlier
    candidate wins.

    Args:
        scores: (B,), finite.
        k: how many to take, 1 <= k <= B.
        classes: (B,) int; the highest of each class are taken, in the classes' shares of the candidates
            (rounded by largest remainders, of equal ones the lower class first), so that a score that ranks
            one class above another does not change their shares. None: the highest of all.

    Raises:
        ValueError: for k out of range or a score that is not finite.
    """
    _check(scores, k)
    if classes is None:
        return _highest(scores, k).sort().values
    rows = [(classes == one).nonzero().flatten() for one in classes.unique()]
    quotas = _quotas([len(some) for some in rows], k)
    taken = [some[_highest(scores[some], quota)] for some, quota in zip(rows, quotas, strict=True)]
    return torch.cat(taken).sort().values


def softmax(scores: Tensor, k: int, generator: Generator, classes: Tensor | None = None) -> Tensor:
    """k draws without replacement with probabilities softmax(scores) (Bad Students, arXiv 2312.05328), in
    candidate order.

    Gumbel top-k: adding independent Gumbel noise and taking the k largest draws the same distribution as
    sampling one at a time, without an exponential that could overflow. The noise comes from `generator` on
    the CPU, so a GPU picks the same.

    Args:
        scores: (B,), finite.
        k: how many to draw, 1 <= k <= B.
        generator: a CPU generator.
        classes: (B,) int; drawn within each class, as in `top_k`.

    Raises:
        ValueError: for k out of range or a score that is not finite.
    """
    _check(scores, k)
    noisy = scores.detach().double().cpu() + _gumbel(len(scores), generator)
    return top_k(noisy, k, classes).to(scores.device)


def joint(scores: Tensor, k: int, chunks: int, generator: Generator) -> Tensor:
    """k draws in chunks, each given the chunks before it (JEST, arXiv 2406.17711, algorithm 1), in candidate
    order.

    For a loss that is a sum over pairs (sigmoid), where the score of a sub-batch S is the sum of S_ij over i,
    j in S. The first chunk is drawn by `softmax` of the diagonal; each further one, without replacement, with
    probabilities softmax(g) of g_i = S_ii + sum over the chosen j of (S_ij + S_ji), which is exactly what
    adding i adds to that score. Draws within a chunk are not conditioned on each other. Multiply the scores
    by an inverse temperature to sharpen or soften the choice.

    After one pass for NaN, only the rows and columns of the chosen are read, once each: O(B k), no copy of
    the matrix. Sums are float64, so that their order makes no difference to the picks; the noise, B float64
    numbers a chunk, is drawn on the CPU. So a GPU picks the same, except between candidates whose noisy
    scores tie up to float64 rounding.

    Args:
        scores: (B, B), finite; the criterion of the pair losses of row image i and column text j. CPU or
            CUDA; not modified.
        k: how many to draw, 1 <= k <= B, divisible by chunks.
        chunks: in how many chunks (16 in the paper); 1 is `softmax` of the diagonal.
        generator: a CPU generator.

    Raises:
        ValueError: for scores not square or not finite, k out of range, or k that chunks does not divide.
    """
    pairs = _check_pairs("scores", scores)
    _check_chunks(pairs, k, chunks)
    gain = pairs.diagonal().double()

    def given(new: Tensor) -> Tensor:
        nonlocal gain  # never += : the diagonal of a float64 matrix is a view of the caller's scores
        for some in torch.split(new, LINES):
            # 117 columns at B = 8,192: index_select 7 ms, pairs[:, some] 20 ms, pairs.T[some] 16 ms.
            rows, columns = pairs.index_select(0, some), pairs.index_select(1, some)
            gain = gain + rows.double().sum(0) + columns.double().sum(1)
        return gain

    return _draw_in_chunks(gain, given, k, chunks, generator).sort().values


def joint_softmax(
    learner: Tensor | None,
    reference: Tensor | None,
    k: int,
    chunks: int,
    generator: Generator,
    inverse_temperature: float = 1.0,
) -> Tensor:
    """`joint` for the softmax (CLIP, InfoNCE) loss, which is no sum over pairs (JEST, arXiv 2406.17711), in
    candidate order.

    With s the logits, u_i = -s_ii(learner) + s_ii(reference) scores the first chunk, and each further one is
    scored by g_i = u_i + 1/2 [LSE_j s_ij + LSE_j s_ji](learner) - the same of the reference, LSE_j being
    log-sum-exp over the chosen j. A matrix that is None drops out: hard has no reference, easy no learner,
    learnability has both.

    An approximation, unlike `joint`: a candidate is scored against the chosen as its negatives (its own
    positive is not in the LSE), but the chosen are not scored again with the candidate as a new negative. So
    g_i is not the change of the batch loss. The formula is that of the code of Optimization-AI/DRRho-CLIP,
    which credits the JEST paper; there the first chunk is drawn linearly in u, here by softmax as in `joint`.

    Args:
        learner: (B, B), finite logits of row image i and column text j, already scaled; or None.
        reference: (B, B), the same by the reference model with its own scale; or None.
        k: how many to draw, 1 <= k <= B, divisible by chunks.
        chunks: in how many chunks; 1 is `softmax` of inverse_temperature * u.
        generator: a CPU generator.
        inverse_temperature: multiplies every score; 0 draws uniformly.

    Raises:
        ValueError: for no logits at all, logits not square, not finite or of two shapes, k out of range, k
            that chunks does not divide, or an inverse temperature that is negative or not finite.
    """
    if not 0 <= inverse_temperature < math.inf:
        raise ValueError(f"inverse_temperature: {inverse_temperature}; allowed: 0 or more, finite")
    sides = _sides(learner, reference)
    _check_chunks(sides[0].logits, k, chunks)

    def given(new: Tensor) -> Tensor:
        return inverse_temperature * torch.stack([side.score(new) for side in sides]).sum(0)

    unconditional = inverse_temperature * torch.stack([-side.sign * side.positive for side in sides]).sum(0)
    return _draw_in_chunks(unconditional, given, k, chunks, generator).sort().values


class _Negatives:
    """The signed softmax loss (B,) of every candidate against the chosen so far, by running log-sum-exp."""

    def __init__(self, sign: float, logits: Tensor) -> None:
        self.sign, self.logits = sign, logits
        self.positive = self.logits.diagonal().double()
        # Log-sum-exp over no negative at all.
        self.texts = self.images = torch.full_like(self.positive, -math.inf)

    def score(self, new: Tensor) -> Tensor:
        """Adds the newly chosen as negatives; returns sign * (1/2 [LSE_j s_ij + LSE_j s_ji] - s_ii)."""
        for some in torch.split(new, LINES):
            rows, columns = self.logits.index_select(0, some), self.logits.index_select(1, some)
            self.texts = torch.logaddexp(self.texts, columns.double().logsumexp(1))
            self.images = torch.logaddexp(self.images, rows.double().logsumexp(0))
        return self.sign * ((self.texts + self.images) / 2 - self.positive)


def _sides(learner: Tensor | None, reference: Tensor | None) -> list[_Negatives]:
    signed = ((1.0, "learner", learner), (-1.0, "reference", reference))
    given = [(sign, name, logits) for sign, name, logits in signed if logits is not None]
    sides = [_Negatives(sign, _check_pairs(name, logits)) for sign, name, logits in given]
    if not sides:
        raise ValueError("learner, reference: both None; give the logits of at least one")
    first, last = (tuple(side.logits.shape) for side in (sides[0], sides[-1]))
    if first != last:
        raise ValueError(f"reference: shape {last}; that of learner is {first}")
    return sides


def _draw_in_chunks(
    scores: Tensor, given: Callable[[Tensor], Tensor], k: int, chunks: int, generator: Generator
) -> Tensor:
    """Indices (k,) as drawn: the first chunk by `scores` (B,), each next one by `given(the last chunk)`."""
    drawn: list[Tensor] = []
    taken = torch.zeros_like(scores, dtype=torch.bool)
    for _ in range(chunks):
        if drawn:
            taken[drawn[-1]] = True
            scores = given(drawn[-1])
        noisy = scores + _gumbel(len(scores), generator).to(scores.device)
        drawn.append(_highest(noisy.masked_fill(taken, -math.inf), k // chunks))
    return torch.cat(drawn)


def _quotas(sizes: list[int], k: int) -> list[int]:
    """k in the proportions of `sizes`, rounded down, the rest to the largest remainders."""
    whole = sum(sizes)
    quotas = [k * size // whole for size in sizes]
    remainders = sorted(range(len(sizes)), key=lambda one: (-(k * sizes[one] % whole), one))
    for one in remainders[: k - sum(quotas)]:
        quotas[one] += 1
    return quotas


def _highest(scores: Tensor, k: int) -> Tensor:
    return torch.sort(scores, descending=True, stable=True).indices[:k]


def _gumbel(count: int, generator: Generator) -> Tensor:
    uniform = torch.rand(count, generator=generator, dtype=torch.float64)
    return -torch.log(-torch.log(uniform.clamp(1e-300, 1 - 1e-16)))


def _check(scores: Tensor, k: int) -> None:
    if scores.ndim != 1:
        raise ValueError(f"scores: shape {tuple(scores.shape)}; give one score for each candidate, (B,)")
    _check_count(scores, k)
    if not torch.isfinite(scores).all():
        bad = (~torch.isfinite(scores)).nonzero().flatten().tolist()
        raise ValueError(
            f"scores: not finite at candidates {bad[:8]}; selecting on NaN would hide a diverged run"
        )


def _check_pairs(name: str, pairs: Tensor) -> Tensor:
    if pairs.ndim != 2 or pairs.shape[0] != pairs.shape[1]:
        raise ValueError(
            f"{name}: shape {tuple(pairs.shape)}; give one number for every pair of candidates, (B, B)"
        )
    pairs = pairs.detach()
    # aminmax propagates NaN without a copy: 36 ms at B = 8,192 on one core; isfinite by blocks takes 306 ms.
    if pairs.numel() and not torch.isfinite(torch.stack(torch.aminmax(pairs))).all():
        low, high = torch.aminmax(pairs, dim=1)
        bad = (~torch.isfinite(low) | ~torch.isfinite(high)).nonzero().flatten().tolist()
        raise ValueError(f"{name}: not finite in rows {bad[:8]}; selecting on NaN would hide a diverged run")
    return pairs


def _check_chunks(scores: Tensor, k: int, chunks: int) -> None:
    _check_count(scores, k)
    if chunks < 1:
        raise ValueError(f"chunks: {chunks}; allowed: 1 or more")
    if k % chunks:
        mend = f"chunks: {max(n for n in range(1, chunks) if k % n == 0)}"
        mend += f" or k: {k - k % chunks}" if k > chunks else ""
        raise ValueError(f"k: {k} is not divisible by chunks: {chunks}; take {mend}")


def _check_count(scores: Tensor, k: int) -> None:
    if not 1 <= k <= len(scores):
        raise ValueError(f"k: {k} of {len(scores)} candidates; allowed: 1 to {len(scores)}")
