"""The order: every epoch a permutation, no state but the step."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from winnow.loading import sampler


@given(st.integers(1, 60), st.integers(0, 99), st.data())
def test_an_epoch_is_a_permutation_cut_into_super_batches(examples, seed, data):
    size = data.draw(st.integers(1, examples))
    steps = sampler.epoch_steps(examples, size)
    epochs = [
        np.concatenate([sampler.candidates(e * steps + s, size, examples, seed) for s in range(steps)])
        for e in (0, 1)
    ]
    for seen in epochs:
        assert len(set(seen)) == len(seen) == steps * size
        assert set(seen) <= set(range(examples))


def test_epochs_and_seeds_differ_and_repeat():
    first = sampler.permutation(100, 0, 0).tolist()
    assert first == sampler.permutation(100, 0, 0).tolist()
    assert first != sampler.permutation(100, 0, 1).tolist()
    assert first != sampler.permutation(100, 1, 0).tolist()


def test_a_super_batch_must_fit():
    with pytest.raises(ValueError, match="11 candidates are more than the version's 10 examples"):
        sampler.epoch_steps(10, 11)


@given(st.integers(1, 60), st.integers(0, 9), st.sampled_from([1, 2, 4]), st.data())
def test_ranks_together_see_what_one_process_sees(examples, seed, ranks, data):
    size = data.draw(st.integers(1, examples))
    step = data.draw(st.integers(0, 3 * sampler.epoch_steps(examples, size)))
    whole = sampler.candidates(step, size, examples, seed)
    together = np.full(size, -1)
    for rank in range(ranks):
        together[rank::ranks] = sampler.candidates(step, size, examples, seed, rank, ranks)
    assert together.tolist() == whole.tolist()


def test_a_small_order_is_numpys():
    """The order in which every result so far was trained."""
    expected = np.random.Generator(np.random.PCG64([3, 1])).permutation(50)
    assert sampler.candidates(6, 10, 50, 3).tolist() == expected[10:20].tolist()


@given(st.integers(2, 3000), st.integers(0, 9), st.integers(0, 9))
def test_the_computed_order_is_a_permutation(examples, seed, epoch):
    everything = sampler.computed(np.arange(examples), examples, seed, epoch)
    assert sorted(everything.tolist()) == list(range(examples))
    some = np.arange(examples)[examples // 3 :: 7]
    assert sampler.computed(some, examples, seed, epoch).tolist() == everything[some].tolist()


@pytest.mark.slow
def test_the_computed_order_is_even():
    """Chi-squared of 64 examples' places, and of neighbours, in 20,000 epochs, against even draws.

    The bounds are the mean of the distribution plus six of its standard deviations.
    """
    n, epochs = 64, 20_000
    orders = np.stack([sampler.computed(np.arange(n), n, 0, epoch) for epoch in range(epochs)])
    places = np.stack([np.bincount(orders[:, i], minlength=n) for i in range(n)])
    neighbours = np.bincount((orders[:, 1:] - orders[:, :-1]).ravel() % n, minlength=n)[1:]
    for counts, freedom in ((places.ravel(), (n - 1) ** 2), (neighbours, n - 2)):
        even = counts.mean()
        assert ((counts - even) ** 2 / even).sum() < freedom + 6 * (2 * freedom) ** 0.5


def test_a_large_version_is_ordered_without_memory():
    n, size = 100_000_000, 1000
    tracemalloc.start()
    seen = [sampler.candidates(step, size, n, 0) for step in (0, 1, n // size - 1)]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6
    assert len(set(np.concatenate(seen).tolist())) == 3 * size
    for indices in seen:
        assert 0 <= indices.min() <= indices.max() < n
        assert abs(indices.mean() / n - 0.5) < 0.06  # six standard deviations


def test_epochs_and_seeds_of_a_large_version_differ():
    at = np.arange(5)
    orders = [sampler.computed(at, 10**8, seed, epoch).tolist() for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert orders[0] != orders[1] != orders[2] != orders[0]
    assert orders[0] == sampler.computed(at, 10**8, 0, 0).tolist()
