"""Joint selection: the picks are those of models/samplers.py on matrices made here from losses of pairs."""

from dataclasses import replace

import pytest
import torch

from models import samplers
from tests.loops import BATCH, JOINT, PROXY, embedded, scoring_batch
from winnow.loading import sampler
from winnow.pipeline.errors import TableError
from winnow.selection.scorers import scored
from winnow.training.device import generator

CRITERIA = ["learnability", "hard", "easy"]


def matrices(loop, reference, scorer):
    """The first step's candidates, and both sides' pairs among them."""
    candidates = sampler.candidates(0, 2 * BATCH, len(loop.data), 0)
    batch = scoring_batch(loop, candidates, generator(0, "score", 0))
    return candidates, scored(scorer, batch).pair, reference.pairs(candidates, loop.fabric.device)


@pytest.mark.slow
@pytest.mark.parametrize("inverse_temperature", [1.0, 3.0])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_picks_with_the_sigmoid_loss_are_the_samplers(start, criterion, inverse_temperature):
    reference = embedded(start(JOINT, "siglip", seed=3))
    policy = replace(JOINT, criterion=criterion, inverse_temperature=inverse_temperature)
    loop = start(policy, "siglip", steps=1, reference=reference)
    candidates, learner, other = matrices(loop, reference, loop.objective)
    scores = {"learnability": learner - other, "hard": learner, "easy": -other}[criterion]
    scores = inverse_temperature * scores
    expected = candidates[samplers.joint(scores, BATCH, 4, generator(0, "sample", 0)).numpy()]
    assert loop.run().column("index").tolist() == expected.tolist()


@pytest.mark.slow
@pytest.mark.parametrize("inverse_temperature", [1.0, 3.0])
@pytest.mark.parametrize("method", ["simclr", "clip"])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_picks_with_the_softmax_loss_are_the_samplers(start, criterion, method, inverse_temperature):
    """Was: whether the picks are unique, which those of any sampler are."""
    reference = embedded(start(JOINT, method, seed=3))
    policy = replace(JOINT, criterion=criterion, inverse_temperature=inverse_temperature)
    loop = start(policy, method, steps=1, reference=reference)
    candidates, learner, other = matrices(loop, reference, loop.objective)
    sides = {"learnability": (learner, other), "hard": (learner, None), "easy": (None, other)}[criterion]
    noise = generator(0, "sample", 0)
    chosen = samplers.joint_softmax(*sides, BATCH, 4, noise, inverse_temperature)
    assert loop.run().column("index").tolist() == candidates[chosen.numpy()].tolist()


@pytest.mark.slow
def test_a_proxys_pairs_stand_for_the_learners(start):
    reference = embedded(start(JOINT, "siglip", seed=3))
    policy = replace(JOINT, scorer="proxy", proxy=PROXY.proxy)
    loop = start(policy, "siglip", steps=1, reference=reference)
    candidates, learner, other = matrices(loop, reference, loop.selector.scorer.objective)
    expected = candidates[samplers.joint(learner - other, BATCH, 4, generator(0, "sample", 0)).numpy()]
    assert loop.run().column("index").tolist() == expected.tolist()


def test_joint_selection_without_embeddings_says_what_to_run(start):
    with pytest.raises(ValueError, match="no embeddings there, .* needs them; run: dvc repro -f reference"):
        start(JOINT, "siglip").run()


@pytest.mark.slow
def test_flexi_jest_trains_both_parts_as_one_batch_of_pairs(start):
    """The second part is cut coarsely, and each image is compared with the texts of the whole batch."""
    policy = replace(JOINT, patch_size=8, multi_resolution=True)
    reference = embedded(start(JOINT, "siglip", backbone="test_vit"))
    loop = start(policy, "siglip", 2, reference, "test_vit")
    indices = loop.selector.indices(0)
    picked = loop.selector.pick(loop.module, indices, loop.data.pixels.get(indices), 0, loop.fabric.device)
    parts = loop.selector.batches(picked, 0, loop.fabric.device)
    assert [(len(part.labels), part.patch_size) for part in parts] == [(BATCH // 2, None), (BATCH // 2, 8)]
    both = loop.objective.eval()(*parts).pair
    assert both.shape == (BATCH, BATCH)
    for part, rows in zip(parts, (slice(0, 4), slice(4, 8)), strict=True):
        torch.testing.assert_close(both[rows, rows], loop.objective(part).pair)
    assert len(loop.run().column("index")) == 2 * BATCH


@pytest.mark.slow
@pytest.mark.parametrize(("method", "column"), [("siglip", "reference_pairs"), ("simclr", "reference_loss")])
def test_pairs_that_are_not_finite_name_their_examples(start, method, column):
    reference = embedded(start(JOINT, method, seed=3))
    loop = start(JOINT, method, reference=reference)
    bad = int(loop.selector.indices(0)[5])
    reference.embeddings[0][bad] = torch.nan
    with pytest.raises(TableError, match=r"step 0: the scores of \d+ candidates are not finite") as caught:
        loop.run()
    assert loop.data.uids[bad] in caught.value.columns["uid"]
    assert column in caught.value.columns
    if method == "siglip":
        assert caught.value.columns["uid"] == [loop.data.uids[bad]]
