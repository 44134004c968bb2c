"""Independent samplers, top_k and softmax: unique indices, the right ones, with the right frequencies."""

import itertools
import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import samplers

finite = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(st.lists(finite, min_size=1, max_size=40), st.data())
def test_top_k_takes_the_highest_and_of_equals_the_earlier(values, data):
    k = data.draw(st.integers(1, len(values)))
    picked = samplers.top_k(torch.tensor(values), k).tolist()
    # Oracle: Python's stable sort.
    assert picked == sorted(sorted(range(len(values)), key=lambda i: -values[i])[:k])


@given(st.lists(finite, min_size=1, max_size=40), st.integers(0, 2**31), st.data())
def test_softmax_draws_are_unique_and_repeatable(values, seed, data):
    k = data.draw(st.integers(1, len(values)))
    draw = [samplers.softmax(torch.tensor(values), k, torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert torch.equal(*draw)
    assert len(set(draw[0].tolist())) == k


@given(st.lists(st.tuples(finite, st.integers(0, 4)), min_size=1, max_size=40), st.data())
def test_within_classes_the_highest_of_each_are_taken_in_its_share(candidates, data):
    """Oracle: shares as fractions, rounded down, and the rest one by one to the class that lacks most."""
    k = data.draw(st.integers(1, len(candidates)))
    values, classes = (list(column) for column in zip(*candidates, strict=True))
    picked = samplers.top_k(torch.tensor(values), k, torch.tensor(classes)).tolist()
    shares = {one: Fraction(k * classes.count(one), len(classes)) for one in sorted(set(classes))}
    quotas = {one: math.floor(share) for one, share in shares.items()}
    while sum(quotas.values()) < k:
        quotas[max(shares, key=lambda one: (shares[one] - quotas[one], -one))] += 1
    expected = []
    for one, quota in quotas.items():
        members = [i for i in range(len(classes)) if classes[i] == one]
        expected += sorted(members, key=lambda i: -values[i])[:quota]
    assert picked == sorted(expected)


@given(st.lists(st.tuples(finite, st.integers(0, 4)), min_size=1, max_size=40), st.integers(0, 99), st.data())
def test_softmax_within_classes_keeps_their_shares_too(candidates, seed, data):
    k = data.draw(st.integers(1, len(candidates)))
    values, classes = (torch.tensor(column) for column in zip(*candidates, strict=True))
    noise = torch.Generator().manual_seed(seed)
    drawn, best = samplers.softmax(values, k, noise, classes), samplers.top_k(values, k, classes)
    assert len(set(drawn.tolist())) == k
    assert classes[drawn].bincount().tolist() == classes[best].bincount().tolist()


@pytest.mark.slow
def test_softmax_frequencies_are_those_of_sequential_draws_without_replacement():
    scores, k, trials = torch.tensor([0.0, 1.0, 2.0, -1.0]), 2, 20_000
    weight = scores.exp().tolist()
    # Brute force: P(set) = sum over orders of the product of w / (what is left).
    expected = {}
    for first, second in itertools.permutations(range(4), 2):
        p = weight[first] / sum(weight) * weight[second] / (sum(weight) - weight[first])
        key = tuple(sorted((first, second)))
        expected[key] = expected.get(key, 0) + p
    generator = torch.Generator().manual_seed(0)
    counts = dict.fromkeys(expected, 0)
    for _ in range(trials):
        counts[tuple(samplers.softmax(scores, k, generator).tolist())] += 1
    for key, p in expected.items():
        assert abs(counts[key] / trials - p) < 4 * math.sqrt(p * (1 - p) / trials)


def test_softmax_does_not_overflow():
    picked = samplers.softmax(torch.tensor([1e30, -1e30, 0.0]), 2, torch.Generator().manual_seed(0))
    assert 0 in picked.tolist()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="not finite at candidates \\[1\\]"):
        samplers.top_k(torch.tensor([0.0, bad]), 1)


@pytest.mark.parametrize("k", [0, 3])
def test_k_out_of_range_is_refused(k):
    with pytest.raises(ValueError, match="allowed: 1 to 2"):
        samplers.top_k(torch.zeros(2), k)
