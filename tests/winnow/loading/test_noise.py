"""Draws by example: splitmix64, the same in any batch."""

import numpy as np
import pytest
import torch

from winnow.loading.noise import Noise

NUMBERS = np.array([3, 2**64 - 1, 77, 0], np.uint64)


def splitmix(value):
    """splitmix64's finaliser as published (Steele, Lea and Flood), in Python's integers."""
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = ((value ^ (value >> shift)) * factor) % 2**64
    return value ^ (value >> 31)


def test_each_example_has_a_stream_of_splitmix64():
    noise = Noise(12345, NUMBERS)
    drawn = torch.cat([noise(2, 3).flatten(1), noise()[:, None]], 1)
    for number, row in zip(NUMBERS.tolist(), drawn.tolist(), strict=True):
        start = splitmix(number ^ splitmix(12345))
        states = ((start + place * 0x9E3779B97F4A7C15) % 2**64 for place in range(1, 8))
        assert row == [(splitmix(state) >> 40) / 2**24 for state in states]


@pytest.mark.parametrize("part", [[0], [2, 1], [3, 0, 2]])
def test_an_example_draws_the_same_in_any_batch(part):
    whole, some = Noise(7, NUMBERS), Noise(7, NUMBERS[part])
    for shape in ((), (4,), (2, 3)):
        assert whole(*shape)[part].equal(some(*shape))


def test_draws_are_uniform_and_unlike_those_of_other_seeds_and_neighbours():
    """Tolerances: four standard errors of 100,000 uniform draws."""
    one, two = (Noise(seed, np.arange(1000, dtype=np.uint64))(100).double() for seed in (0, 1))
    assert abs(one.mean() - 0.5) < 4 * (1 / 12 / 1e5) ** 0.5
    assert abs(one.var() - 1 / 12) < 4 * (1 / 180 / 1e5) ** 0.5
    for a, b in ((one, two), (one[1:], one[:-1]), (one[:, 1:], one[:, :-1])):
        assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 4 / 9e4**0.5
