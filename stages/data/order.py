"""The order in which a version is seen: a permutation from (seed, epoch), so that position is all the state there is."""

from functools import lru_cache

import numpy as np


def epoch_steps(examples: int, size: int) -> int:
    """How many whole super-batches an epoch holds.

    Raises:
        ValueError: if one super-batch does not fit into the version.
    """
    if size > examples:
        raise ValueError(f"super-batch: {size} candidates are more than the version's {examples} examples; lower the ratio")
    return examples // size


def candidates(step: int, size: int, examples: int, seed: int) -> np.ndarray:
    """Indices (size,) of the candidates of a step; within an epoch no index comes twice, the rest of an epoch is left out."""
    epoch, place = divmod(step, epoch_steps(examples, size))
    return permutation(examples, seed, epoch)[place * size : (place + 1) * size]


@lru_cache(maxsize=2)
def permutation(examples: int, seed: int, epoch: int) -> np.ndarray:
    """The order of one epoch, (examples,) int64; the same for the same seed and epoch on every machine."""
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(examples)
