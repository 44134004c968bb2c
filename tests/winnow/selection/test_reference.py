"""An online reference is trained on trusted examples, beside the learner, and scores as it is then."""

import torch

from models import samplers
from tests.loops import BATCH, ONLINE, scoring_batch, weights
from winnow.selection.policy import UNIFORM
from winnow.selection.scorers import scored
from winnow.selection.selector import Selector
from winnow.training.device import generator


def test_an_online_reference_scores_the_candidates_as_it_is_now(start):
    loop = start(ONLINE, steps=3)
    reference = loop.selector.reference
    loop.run()
    indices = loop.selector.indices(3)
    images = loop.data.pixels.get(indices)
    batch = scoring_batch(loop, indices, generator(0, "score", 3))
    learner, own = (scored(model, batch).example for model in (loop.objective, reference.model.objective))
    picked = loop.selector.pick(loop.module, indices, images, 3, loop.fabric.device)
    expected = samplers.top_k(learner - own, BATCH)
    assert picked.indices.tolist() == indices[expected.numpy()].tolist()
    assert torch.equal(picked.reference_loss, own[expected])


def test_an_online_reference_learns_from_trusted_examples(start):
    loop = start(ONLINE, steps=3)
    reference, seen = loop.selector.reference, []
    before = weights(reference.model.objective)
    real = reference.trusted.pixels.get
    reference.trusted.pixels.get = lambda indices: seen.extend(indices) or real(indices)
    loop.run()
    assert len(seen) == len(set(seen)) == 3 * BATCH  # 24 of its 60, without repetition
    assert weights(reference.model.objective) != before


def test_training_an_online_reference_does_not_change_the_learner(start):
    """Here the learner is sampled uniformly, so the reference can reach it by no score."""
    reference = start(ONLINE).selector.reference
    before = weights(reference.model.objective)
    alone = start()
    beside = start(selector=lambda recipe, data: Selector(UNIFORM, recipe, data, reference, 0))
    for loop in (alone, beside):
        loop.run()
    assert weights(reference.model.objective) != before
    assert weights(beside.objective) == weights(alone.objective)
