"""Independent selection: what is scored, by which model, what is taken and recorded; nothing is disturbed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.criteria import learnability
from tests.loops import BATCH, LEARNABILITY, ONLINE, PROXY, embedded, scoring_batch, weights
from winnow.config.derive import needs_reference
from winnow.config.schema import Policy
from winnow.loading import sampler
from winnow.pipeline.errors import TableError
from winnow.selection.cost import step_flops
from winnow.selection.mixture import Mixture
from winnow.selection.policy import UNIFORM
from winnow.selection.reference import Reference
from winnow.selection.scorers import scored
from winnow.selection.selector import Replay, Selector
from winnow.training.device import generator


def pick(loop):
    """The first step's candidates, and what a loop's selector takes of them."""
    indices = loop.selector.indices(0)
    images = loop.data.pixels.get(indices)
    return indices, loop.selector.pick(loop.module, indices, images, 0, loop.fabric.device)


def test_a_proxy_with_a_constant_criterion_is_the_uniform_run_bit_for_bit(start, monkeypatch):
    uniform = start(Policy("uniform", "top_k", 0.5))
    uniform.run()
    monkeypatch.setattr(learnability, "score", lambda learner, reference: torch.zeros_like(learner))
    proxied = start(PROXY)
    proxied.run()
    assert weights(uniform.objective) == weights(proxied.objective)


def test_the_proxy_scores_and_learns_and_the_learner_does_not_score(start):
    loop = start(PROXY)
    proxy = loop.selector.scorer.objective
    before, calls = weights(proxy), {proxy: [], loop.objective: []}
    for module, modes in calls.items():
        module.register_forward_hook(lambda module, *_, modes=modes: modes.append(module.training))
    _, picked = pick(loop)
    batch = scoring_batch(loop, picked.indices, generator(0, "score", 0))
    assert calls == {proxy: [False], loop.objective: []}
    torch.testing.assert_close(picked.learner_loss, scored(proxy, batch).example)
    loop.run()
    assert calls[loop.objective] == [True] * 4
    assert weights(proxy) != before


def test_a_frozen_scorer_ranks_by_what_the_pool_model_and_the_reference_computed(start):
    n = len(start.examples("supervised"))
    pool_model, known = (torch.rand(n, generator=generator(name)) for name in ("pool model", "known"))
    reference = Reference(known, pool_model_losses=pool_model)
    loop = start(replace(LEARNABILITY, scorer="frozen"), steps=1, reference=reference)
    candidates = sampler.candidates(0, 2 * BATCH, n, 0)
    best = np.argsort(-(pool_model - known).numpy()[candidates], kind="stable")[:BATCH]
    assert sorted(loop.run().column("index").tolist()) == sorted(candidates[best].tolist())


def test_a_frozen_scorer_without_a_pool_model_is_refused_before_anything_is_computed(start):
    with pytest.raises(
        ValueError, match=r"reference.pool_model: false, and criterion learnability .* to true"
    ):
        start(replace(LEARNABILITY, scorer="frozen"))


def test_a_criterion_without_its_reference_is_refused_before_anything_is_computed(start):
    with pytest.raises(
        ValueError, match="criterion learnability needs a reference .*; see reference.methods"
    ):
        start(selector=lambda recipe, data: type(start().selector)(LEARNABILITY, recipe, data, None, 0))


@pytest.mark.parametrize(
    ("policy", "reads"),
    [
        (UNIFORM, False),
        (Policy("uniform", scorer="frozen"), False),
        (Policy("hard", filter_ratio=0.5), False),
        (Policy("easy", filter_ratio=0.5, scorer="frozen"), True),
        (Policy("hard", filter_ratio=0.5, scorer="frozen"), True),
        (LEARNABILITY, True),
        (PROXY, True),
        (ONLINE, False),
        (Policy("learnability", scorer="replay"), False),
    ],
)
def test_only_a_policy_that_reads_a_reference_pays_for_it(policy, reads):
    assert needs_reference(policy) is reads


def test_gradient_norm_is_that_of_autograd(start):
    """The oracle is the gradient of each example's loss with respect to its logits."""
    loop = start(Policy("gradient_norm", "top_k", 0.5))
    indices, picked = pick(loop)
    batch = scoring_batch(loop, indices, generator(0, "score", 0))
    logits = loop.objective.eval().classify(batch.views["image"][0]).detach().requires_grad_()
    torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum").backward()
    norm = logits.grad.norm(dim=1)
    torch.testing.assert_close(scored(loop.objective, batch).gradient_norm, norm)
    torch.testing.assert_close(picked.score, norm.topk(BATCH).values[picked.rank.argsort().argsort()])


def test_gradient_norm_needs_a_classifier(start):
    with pytest.raises(ValueError, match="gradient_norm needs a method with a classifier"):
        start(Policy("gradient_norm", "top_k", 0.5), "simclr").run()


def mixed(start, policy, counts, selected=0, **more):
    """A loop on the first 120 examples and, whole, the others; it is selected from those at `selected`."""
    n = len(start.examples("supervised"))
    members = [np.arange(120), np.arange(120, n)]

    def selector(recipe, data):
        mixture = Mixture(members, counts, selected)
        return Selector(policy, recipe, data, more.get("reference"), 0, more.get("scorer"), mixture)

    return start(policy, selector=selector)


def test_the_part_that_is_not_selected_from_is_trained_on_whole_and_not_scored(start):
    """Six of a batch of eight are the best of twelve candidates by brute force; two come from the others."""
    n = len(start.examples("supervised"))
    known = torch.rand(n, generator=generator("known"))
    known[120:] = torch.nan  # nobody judged them
    loop = mixed(start, Policy("easy", "top_k", 0.5, scorer="frozen"), [12, 2], reference=Reference(known))
    indices, picked = pick(loop)
    mine, others = indices[indices < 120], indices[indices >= 120]
    assert (len(mine), len(others)) == (12, 2)
    best = mine[np.argsort(known.numpy()[mine], kind="stable")[:6]]
    assert sorted(picked.indices) == sorted([*best, *others])
    whole = torch.from_numpy(picked.indices >= 120)
    assert torch.equal(picked.rank == -1, whole)
    assert torch.equal(picked.score.isnan(), whole)
    assert sorted(picked.rank[~whole].tolist()) == list(range(6))
    torch.testing.assert_close(picked.score[~whole], -known[picked.indices[~whole.numpy()]])
    shown, expected = (
        loop.data.batch(picked.indices, images, loop.recipe.score_views, generator("any"), loop.fabric.device)
        for images in (picked.images, loop.data.pixels.get(picked.indices))
    )
    assert torch.equal(shown.views["image"][0], expected.views["image"][0])
    assert set(picked.rejected.indices) <= set(mine) - set(best)


def test_only_candidates_that_are_selected_from_are_scored(start):
    loop, seen = mixed(start, Policy("hard", "top_k", 0.5), [12, 2]), []
    hook = loop.objective.register_forward_hook(lambda _, given, out: seen.append(len(out.example)))
    pick(loop)
    hook.remove()
    assert seen == [12]
    every = step_flops(loop.objective, loop.recipe, loop.selector.policy, loop.data)
    fewer = step_flops(loop.objective, loop.recipe, loop.selector.policy, loop.data, scored=12)
    assert every.train == fewer.train
    assert fewer.score * 16 == every.score * 12, "16 candidates for a batch of 8"


def test_more_candidates_than_the_part_that_is_selected_from_holds_are_refused(start):
    with pytest.raises(ValueError, match=r"super-batch: 140 candidates are more than the version's 120"):
        mixed(start, Policy("hard", "top_k", 0.95), [140, 1])


def test_selection_within_classes_keeps_their_shares(start):
    n = len(start.examples("supervised"))
    known = torch.rand(n, generator=generator("known"))
    policy = Policy("easy", "top_k", 0.75, scorer="frozen", per_class=True)
    loop = start(policy, reference=Reference(known))
    indices, picked = pick(loop)
    labels = loop.data.labels
    shares = labels[indices].bincount(minlength=10) / 4
    assert ((labels[picked.indices].bincount(minlength=10) - shares).abs() < 1).all()


def test_inverse_temperature_sharpens_the_softmax(start):
    """At 0 the draw is uniform and ignores the scores; at 1e9 it is the ranking."""
    losses = torch.rand(len(start.examples("supervised")), generator=generator("losses"))

    def picks(sampler, value):
        policy = Policy("easy", sampler, 0.75, scorer="frozen", inverse_temperature=value)
        return sorted(pick(start(policy, reference=Reference(losses)))[1].indices)

    assert picks("softmax", 1e9) == picks("top_k", 1.0)
    uniform = start(Policy("uniform", "softmax", 0.75))
    assert picks("softmax", 0.0) == sorted(pick(uniform)[1].indices)
    assert picks("softmax", 0.0) != picks("top_k", 1.0)


def test_a_replayed_trace_trains_on_the_same_examples_and_scores_nothing(start):
    chosen = start(PROXY).run().column("index").numpy()
    policy = Policy("uniform", scorer="replay")
    big = start(policy, "simclr", selector=lambda recipe, data: Replay(policy, recipe, data, chosen, 0))
    assert big.selector.steps == 4
    assert big.run().column("index").tolist() == chosen.tolist()
    assert step_flops(big.objective, big.recipe, policy, big.data).score == 0
    assert big.state.column("score").isfinite().all()
    assert big.state.column("learner_loss").isnan().all()


def test_a_replay_ends_with_the_last_whole_batch_of_its_trace(start):
    indices = np.arange(2 * BATCH + 3)
    loop = start(selector=lambda recipe, data: Replay(UNIFORM, recipe, data, indices, 0))
    assert loop.selector.steps == 2


def test_what_is_recorded_of_the_rejected_was_scored_and_not_trained_on(start):
    state = start(Policy("hard", "top_k", 0.75)).run()
    assert len(state.column("index", rejected=True)) == 4 * (BATCH // 8)
    for step in range(4):
        taken = state.column("step") == step
        out = state.column("step", rejected=True) == step
        indices = set(state.column("index")[taken].tolist())
        assert not indices & set(state.column("index", rejected=True)[out].tolist())
        assert sorted(state.column("rank")[taken].tolist()) == list(range(BATCH))
        assert state.column("score", rejected=True)[out].max() <= state.column("score")[taken].min()
        assert (state.column("rank", rejected=True)[out] >= BATCH).all()


def test_half_of_a_batch_in_two_resolutions_is_trained_small(start):
    loop = start(Policy("learnability", "top_k", 0.5, resolution=16, multi_resolution=True), steps=2)
    _, picked = pick(loop)
    parts = loop.selector.batches(picked, 0, loop.fabric.device)
    sizes = [(len(part.labels), part.views["image"][0].shape[-1]) for part in parts]
    assert sizes == [(BATCH // 2, 28), (BATCH // 2, 16)]
    labels = torch.cat([part.labels for part in parts])
    assert labels.tolist() == loop.data.labels[torch.from_numpy(picked.indices)].tolist()
    assert len(loop.run().column("index")) == 2 * BATCH


def test_a_softmax_over_pairs_is_compared_among_the_same_candidates(start):
    """NT-Xent grows with the number of negatives, so losses among another number cannot be subtracted."""
    reference = embedded(start(LEARNABILITY, "simclr", seed=3))
    loop = start(LEARNABILITY, "simclr", reference=reference)
    indices, picked = pick(loop)
    first, second = (side[torch.from_numpy(indices)] for side in reference.embeddings)
    expected = reference.objective.compare(first, second).example
    place = {int(index): i for i, index in enumerate(indices)}
    torch.testing.assert_close(picked.reference_loss, expected[[place[int(i)] for i in picked.indices]])


@pytest.mark.parametrize("policy", [LEARNABILITY, PROXY, ONLINE, replace(LEARNABILITY, resolution=16)])
def test_scoring_does_not_change_the_learner(start, policy):
    loop = start(policy)
    before, random = weights(loop.objective), torch.get_rng_state()
    loop.module.train()
    pick(loop)
    assert weights(loop.objective) == before  # BatchNorm's statistics are part of it
    assert torch.equal(random, torch.get_rng_state())
    assert loop.objective.training
    assert all(p.grad is None for p in loop.objective.parameters())


def test_a_reference_that_is_not_finite_names_its_examples(start):
    losses = torch.zeros(len(start.examples("supervised")))
    loop = start(Policy("easy", "top_k", 0.5, scorer="frozen"), reference=Reference(losses))
    bad = int(loop.selector.indices(0)[5])
    losses[bad] = torch.inf
    with pytest.raises(TableError, match="step 0: the scores of 1 candidates are not finite") as caught:
        loop.run()
    assert caught.value.columns["uid"] == [loop.data.uids[bad]]
    assert caught.value.columns["reference_loss"] == [float("inf")]
