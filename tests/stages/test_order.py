"""The order: every epoch a permutation, no state but the step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.data import order


@given(st.integers(1, 60), st.integers(0, 99), st.data())
def test_an_epoch_is_a_permutation_cut_into_super_batches(examples, seed, data):
    size = data.draw(st.integers(1, examples))
    steps = order.epoch_steps(examples, size)
    epochs = [np.concatenate([order.candidates(e * steps + s, size, examples, seed) for s in range(steps)]) for e in (0, 1)]
    for seen in epochs:
        assert len(set(seen)) == len(seen) == steps * size
        assert set(seen) <= set(range(examples))


def test_epochs_and_seeds_differ_and_repeat():
    first = order.permutation(100, 0, 0).tolist()
    assert first == order.permutation(100, 0, 0).tolist()
    assert first != order.permutation(100, 0, 1).tolist()
    assert first != order.permutation(100, 1, 0).tolist()


def test_a_super_batch_must_fit():
    with pytest.raises(ValueError, match="11 candidates are more than the version's 10 examples"):
        order.epoch_steps(10, 11)
