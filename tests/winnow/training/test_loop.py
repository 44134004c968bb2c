"""The one loop: selection does not disturb it, the same seed gives the same bits, a diverged run stops."""

import numpy as np
import pytest
import torch

from models.criteria import learnability
from tests.loops import BATCH, state, weights
from winnow.config.schema import Policy
from winnow.loading import sampler
from winnow.pipeline.errors import TableError
from winnow.selection.policy import super_batch
from winnow.selection.reference import Reference


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "simclr"])
def test_a_constant_criterion_is_the_uniform_run_bit_for_bit(method, start, monkeypatch):
    """The learner is scored here, and the scores are discarded: nothing of that may reach the weights."""
    uniform = start(Policy("uniform", "top_k", 0.5), method)
    uniform.run()
    monkeypatch.setattr(learnability, "score", lambda learner, reference: torch.zeros_like(learner))
    constant = start(Policy("learnability", "top_k", 0.5), method)
    constant.run()
    assert weights(uniform.objective) == weights(constant.objective)
    assert torch.equal(uniform.state.column("index"), constant.state.column("index"))


def test_selection_takes_the_highest_scores_of_the_candidates(start):
    losses = torch.linspace(0, 5, len(start.examples("supervised")))
    loop = start(Policy("easy", "top_k", 0.75), steps=3, reference=Reference(losses))
    trace = loop.run().trace
    for step in range(3):
        size = super_batch(loop.recipe, loop.selector.policy)
        candidates = sampler.candidates(step, size, len(loop.data), 0)
        assert len(candidates) == 4 * BATCH
        best = sorted(candidates, key=lambda i: float(losses[i]))[:BATCH]
        assert set(trace["index"][step].tolist()) == set(best)


@pytest.mark.slow
def test_an_epoch_sees_no_example_twice(start):
    loop = start(steps=len(start.examples("supervised")) // BATCH)
    indices = loop.run().column("index").tolist()
    assert len(set(indices)) == len(indices) == loop.pace.total * BATCH


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "dino", "siglip"])
def test_same_seed_same_bits_and_another_seed_others(method, start):
    policy = Policy("hard", "softmax", 0.5)
    one, two, other = (start(policy, method, seed=seed) for seed in (0, 0, 1))
    for loop in (one, two, other):
        loop.run()
    assert weights(one.objective) == weights(two.objective)
    assert one.state.column("index").tolist() == two.state.column("index").tolist()
    assert one.state.column("index").tolist() != other.state.column("index").tolist()


def diverge(loop):
    with torch.no_grad():
        next(loop.objective.parameters()).fill_(float("nan"))
    return loop


def test_a_diverged_run_stops_with_its_examples_named_and_tabulated(start):
    loop = diverge(start())
    with pytest.raises(TableError, match="step 0: the losses of 8 examples are not finite, uids ") as caught:
        loop.run()
    uids = [loop.data.uids[i] for i in loop.selector.indices(0)]
    assert list(caught.value.columns) == ["uid", "train_loss"]
    assert sorted(caught.value.columns["uid"]) == sorted(uids)
    assert np.isnan(caught.value.columns["train_loss"]).all()
    assert caught.value.columns["uid"][0] in str(caught.value)


def test_scores_that_are_not_finite_stop_the_run_before_selection(start):
    loop = diverge(start(Policy("hard", "top_k", 0.5)))
    before = state(loop)
    with pytest.raises(TableError, match="step 0: the scores of 16 candidates are not finite") as caught:
        loop.run()
    assert list(caught.value.columns) == ["uid", "learner_loss", "reference_loss", "score"]
    assert weights(loop.objective) == {
        key.removeprefix(".objective"): value for key, value in before.items() if key.startswith(".objective")
    }


def test_a_super_batch_larger_than_the_version_is_refused(start):
    with pytest.raises(ValueError, match="super-batch: 800 candidates are more than .*; lower the policy's"):
        start(Policy("hard", "top_k", 0.99))
