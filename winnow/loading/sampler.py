"""The order of training: a permutation drawn from (seed, epoch), so that the position is the only state.

Up to `LISTED` examples it is numpy's, drawn at once. For more, drawing it would cost a second per resume and
per epoch, and 8 bytes per example; there each position is computed on demand, by a Feistel network over the
next power of four and cycle walking (Black and Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002,
method 2) with splitmix64's finaliser as its round function (Steele, Lea and Flood, OOPSLA 2014). Both are
exact permutations, and the same for the same seed and epoch on every machine.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

LISTED = 2**20
ROUNDS = 8
PART = 1_000_000_007  # between the seeds of the parts of a mixture
MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def epoch_steps(examples: int, size: int) -> int:
    """How many whole super-batches an epoch holds.

    Raises:
        ValueError: if one super-batch does not fit into the version.
    """
    if size > examples:
        given = f"super-batch: {size} candidates are more than the version's {examples} examples"
        raise ValueError(f"{given}; lower the policy's filter_ratio or the method's batch_size")
    return examples // size


def candidates(step: int, size: int, examples: int, seed: int, rank: int = 0, ranks: int = 1) -> np.ndarray:
    """Indices (size,) int64 of the candidates of a step, drawn from the whole version.

    Within an epoch no index comes twice, and an incomplete last batch is dropped. Of `ranks` processes,
    `rank` takes every `ranks`-th candidate, starting at its own number, so that all ranks together see what
    one process would, whatever their number.
    """
    epoch, place = divmod(step, epoch_steps(examples, size))
    positions = np.arange(place * size + rank, (place + 1) * size, ranks)
    if examples <= LISTED:
        return permutation(examples, seed, epoch)[positions]
    return computed(positions, examples, seed, epoch)


def mixture_candidates(
    step: int, counts: Sequence[int], members: Sequence[np.ndarray], seed: int
) -> np.ndarray:
    """Indices (sum of counts,) int64 of the candidates of a step, each part of the examples at its own pace.

    A part that is smaller than its count is gone through more than once in a step.

    Args:
        counts: of the candidates, one for each part.
        members: for each part the indices (m,) of its examples; shuffled and gone through on its own.
    """
    drawn = []
    for part, (mine, count) in enumerate(zip(members, counts, strict=True)):
        own = seed + PART * (part + 1)
        if count > len(mine):
            drawn.append(mine[_repeated(step, count, len(mine), own)])
        elif count:
            drawn.append(mine[candidates(step, count, len(mine), own)])
    together = np.concatenate(drawn)
    return together[np.random.Generator(np.random.PCG64([seed, PART, step])).permutation(len(together))]


def _repeated(step: int, size: int, examples: int, seed: int) -> np.ndarray:
    """Indices (size,) int64 of a step that is longer than an epoch; none is dropped between epochs."""
    first, stop = step * size, (step + 1) * size
    epochs = range(first // examples, (stop - 1) // examples + 1)
    order = np.concatenate([permutation(examples, seed, epoch) for epoch in epochs])
    return order[first - epochs.start * examples :][:size]


def counts_of(size: int, shares: Sequence[float]) -> list[int]:
    """So many of each part, `size` in total: rounded down, the rest to the largest remainders."""
    exact = [size * share for share in shares]
    counts = [int(one) for one in exact]
    short = sorted(range(len(exact)), key=lambda part: (counts[part] - exact[part], part))
    for part in short[: size - sum(counts)]:
        counts[part] += 1
    return counts


@lru_cache(maxsize=4)
def permutation(examples: int, seed: int, epoch: int) -> np.ndarray:
    """The order of one epoch of a version of at most `LISTED` examples, (examples,) int64."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(examples)


def computed(positions: np.ndarray, examples: int, seed: int, epoch: int) -> np.ndarray:
    """The indices (k,) int64 at these positions (k,) of one epoch's order, in O(k) memory."""
    half = -(-(examples - 1).bit_length() // 2)
    keys = np.random.SeedSequence([seed, epoch]).generate_state(ROUNDS, np.uint64)
    values = _feistel(positions.astype(np.uint64), half, keys)
    while (outside := np.flatnonzero(values >= examples)).size:
        values[outside] = _feistel(values[outside], half, keys)
    return values.astype(np.int64)


def _feistel(values: np.ndarray, half: int, keys: np.ndarray) -> np.ndarray:
    """A permutation of the numbers with 2 x `half` bits."""
    shift, mask = np.uint64(half), np.uint64((1 << half) - 1)
    left, right = values >> shift, values & mask
    for key in keys:
        left, right = right, left ^ (mixed(right + key) & mask)
    return (left << shift) | right


def mixed(values: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser of each number, uint64."""
    values = (values ^ (values >> np.uint64(30))) * MIX[0]
    values = (values ^ (values >> np.uint64(27))) * MIX[1]
    return values ^ (values >> np.uint64(31))
