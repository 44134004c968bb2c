"""The order: every epoch a permutation, no state but the step."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
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


@st.composite
def mixtures(draw):
    """A size, the size of each part, and shares of 1 in total, such that each part holds its share."""
    size = draw(st.integers(1, 24))
    weights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    shares = [weight / sum(weights) for weight in weights]
    least = sampler.counts_of(size, shares)
    members = [draw(st.integers(max(count, 1), 3 * count + 5)) for count in least]
    starts = np.cumsum([0, *members])
    parts = [np.arange(one, one + many) for one, many in zip(starts, members, strict=False)]
    return size, parts, shares


@settings(deadline=None)
@given(st.integers(0, 5000), st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_shares_are_rounded_to_a_whole_batch(size, weights):
    """Largest remainders: each count is its share rounded up or down, and none that was rounded down has a
    larger remainder than one that was rounded up.
    """
    shares = [Fraction(weight, sum(weights)) for weight in weights]
    counts = sampler.counts_of(size, shares)
    assert sum(counts) == size
    assert all(abs(count - size * share) < 1 for count, share in zip(counts, shares, strict=True))
    above = [size * share % 1 for count, share in zip(counts, shares, strict=True) if count > size * share]
    below = [size * share % 1 for count, share in zip(counts, shares, strict=True) if count < size * share]
    assert not above or not below or min(above) >= max(below)


@settings(deadline=None)
@given(st.integers(0, 5000), st.lists(st.integers(1, 1000), min_size=1, max_size=5))
def test_shares_in_floating_point_fill_the_batch_too(size, weights):
    shares = [weight / sum(weights) for weight in weights]
    counts = sampler.counts_of(size, shares)
    assert sum(counts) == size
    assert all(abs(count - size * share) < 1.001 for count, share in zip(counts, shares, strict=True))


def test_shares_of_a_batch_by_hand():
    assert sampler.counts_of(128, [0.5, 0.5]) == [64, 64]
    assert sampler.counts_of(7, [0.5, 0.5]) == [4, 3]  # equal remainders: the first
    assert sampler.counts_of(10, [0.29, 0.71]) == [3, 7]
    assert sampler.counts_of(100, [0.29, 0.71]) == [29, 71]  # 100 * 0.29 is less than 29 in floating point


@settings(deadline=None, max_examples=30)
@given(mixtures(), st.integers(0, 9))
def test_a_mixture_keeps_its_shares_and_goes_through_every_part(mixture, seed):
    """In each batch the exact share of each part; and of each part no example again before all were drawn
    that fill whole shares.
    """
    size, parts, shares = mixture
    counts = sampler.counts_of(size, shares)
    steps = [sampler.mixture_candidates(step, counts, parts, seed) for step in range(12)]
    for drawn in steps:
        assert len(drawn) == len(set(drawn.tolist())) == size
        assert [int(np.isin(drawn, part).sum()) for part in parts] == counts
    for part, count in zip(parts, counts, strict=True):
        if count:
            epoch = len(part) // count
            mine = [drawn[np.isin(drawn, part)] for drawn in steps]
            for start in range(0, len(steps) - epoch + 1, epoch):
                seen = np.concatenate(mine[start : start + epoch])
                assert len(seen) == len(set(seen.tolist())) == epoch * count


@settings(deadline=None, max_examples=30)
@given(mixtures(), st.integers(0, 9), st.integers(0, 30))
def test_a_mixture_is_a_function_of_seed_and_step(mixture, seed, step):
    size, parts, shares = mixture
    counts = sampler.counts_of(size, shares)
    first = sampler.mixture_candidates(step, counts, parts, seed)
    assert first.tolist() == sampler.mixture_candidates(step, counts, parts, seed).tolist()


def test_a_mixture_is_shuffled_and_its_parts_are_drawn_apart():
    parts = [np.arange(100), np.arange(100, 200)]
    steps = [sampler.mixture_candidates(step, [25, 25], parts, seed) for seed in (0, 1) for step in (0, 1)]
    assert len({tuple(drawn.tolist()) for drawn in steps}) == 4
    assert len({tuple((drawn < 100).tolist()) for drawn in steps}) == 4, "the parts stand in another order"
    first = steps[0]
    assert sorted(first[first < 100].tolist()) != sorted((first[first >= 100] - 100).tolist())


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(10, 40), st.integers(0, 9))
def test_a_part_smaller_than_its_share_is_gone_through_again_and_again(members, count, seed):
    """All passes are whole: after any number of steps no example was drawn twice more often than another."""
    parts, drawn = [np.arange(members), np.arange(members, members + 100)], []
    for step in range(12):
        both = sampler.mixture_candidates(step, [count, count], parts, seed)
        small = both[both < members]
        assert len(small) == count
        assert len(set(both[both >= members].tolist())) == count
        drawn += small.tolist()
        times = np.bincount(drawn, minlength=members)
        assert times.max() - times.min() <= 1
