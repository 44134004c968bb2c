"""Random numbers of a batch in which no picture depends on its neighbours, and sizes."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

SIDE = 224  # px, of the pictures that the paper's strengths are for


def ratio(images: Tensor) -> float:
    """The side of pictures (n, 3, S, S), in those of the paper."""
    return float(images.shape[-1]) / SIDE


class Draws:
    """One generator for each of n pictures; every method returns (n, *shape)."""

    def __init__(self, generators: Sequence[Generator]) -> None:
        self._generators = generators

    def normal(self, *shape: int) -> Tensor:
        """Of mean 0 and standard deviation 1."""
        return torch.stack([torch.randn(shape, generator=one) for one in self._generators])

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """In [low, high)."""
        drawn = torch.stack([torch.rand(shape, generator=one) for one in self._generators])
        return low + (high - low) * drawn

    def integers(self, low: int, high: int, *shape: int) -> Tensor:
        """In low..high, both included, int64."""
        return torch.stack([torch.randint(low, high + 1, shape, generator=one) for one in self._generators])

    def poisson(self, rates: Tensor) -> Tensor:
        """Counts with these rates (n, *shape)."""
        pairs = zip(rates, self._generators, strict=True)
        return torch.stack([torch.poisson(rate, generator=one) for rate, one in pairs])
