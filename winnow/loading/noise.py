"""Uniform draws for each example of a batch, which depend on nothing but a seed and the example.

`torch.rand` for a batch gives an example what its place in the batch decides, so splitting the batch changes
its views. Here each example has a stream of its own: splitmix64 (Steele, Lea and Flood, OOPSLA 2014) from a
start that mixes the seed and the example's number.
"""

import math

import numpy as np
import torch
from torch import Tensor

from winnow.loading.sampler import mixed

STEP = 0x9E3779B97F4A7C15  # splitmix64's: 2**64 divided by the golden ratio


class Noise:
    """Draws for the examples with these numbers (k,) uint64, such as halves of their uids."""

    def __init__(self, seed: int, numbers: np.ndarray) -> None:
        self._start = mixed(numbers.astype(np.uint64) ^ mixed(np.array([seed % 2**64], np.uint64)))
        self._drawn = 0

    def __call__(self, *shape: int) -> Tensor:
        """The next draws, float32 (k, *shape) in [0, 1), from 24 bits each."""
        count = math.prod(shape)
        places = np.arange(self._drawn + 1, self._drawn + count + 1, dtype=np.uint64) * np.uint64(STEP)
        self._drawn += count
        bits = mixed(self._start[:, None] + places) >> np.uint64(40)
        return torch.from_numpy((bits / 2**24).astype(np.float32)).view(len(self._start), *shape)
