"""Who scores, and at what price: proxies, frozen scorers, replays, joint selection and low resolution, beside one learner."""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from models import encoders, samplers
from models.flops import count
from stages import compose
from stages.data import order
from stages.params import Backbone, Policy, Run, parse
from stages.training import unfinite
from stages.training.build import build, open_for
from stages.training.checkpoint import Checkpoint
from stages.training.device import generator, launch
from stages.training.loop import Loop
from stages.training.scorers import Online, Proxy, Reference, _places, replayed, scored
from stages.training.selection import UNIFORM, Replay, Selector, needs_reference
from stages.training.spend import StepFlops, step_flops

BATCH = 8
LEARNABILITY = Policy("learnability", "top_k", 0.5)
PROXY = Policy("learnability", "top_k", 0.5, scorer="proxy", proxy=Backbone("test_byobnet"))
JOINT = Policy("learnability", "joint", 0.5, chunks=4)
ONLINE = Policy("learnability", "top_k", 0.5, online=Backbone("test_byobnet"))


@pytest.fixture(scope="module")
def params():
    return parse(compose.composed(["dataset=digits", "scale=debug", "experiment=methods", "+backbone@backbones.test_vit=test_vit"]))


@pytest.fixture
def start(params, digits):
    """A function: a loop of a policy over 200 digits; `picks` tells what it trained on."""
    pool, uids = digits().pixels.pool, digits(n=200).uids

    def begin(policy=LEARNABILITY, method="supervised", steps=4, reference=None, selector=None, seed=0, backbone="test_resnet"):
        fabric = launch(Run(accelerator="cpu", threads=1))
        data = open_for(params, method, backbone, pool, uids)
        recipe = dataclasses.replace(params.methods[method], batch_size=BATCH)
        objective = build(params, method, backbone, data.classes, seed)
        reference = reference or Reference(torch.zeros(len(data)))
        if policy.online:
            trusted = open_for(params, method, backbone, pool, digits(n=60).uids)
            beside = Proxy(fabric, build(params, method, policy.online, data.classes, 8), recipe, steps)
            reference = Online(beside, trusted, recipe, policy, 5)
        scorer = None
        if policy.proxy:
            scorer = Proxy(fabric, build(params, method, policy.proxy, data.classes, 7), recipe, steps)
        chosen = selector(recipe, data) if selector else Selector(policy, recipe, data, reference, seed, scorer)
        return Loop(fabric, objective, data, recipe, chosen, steps, seed)

    return begin


def embedded(loop):
    """A reference with pairs, for a loop of a contrastive method: the untrained learner itself."""
    data, sides = loop.data, []
    indices = np.arange(len(data))
    views = loop.recipe.score_views
    with torch.no_grad():
        batch = data.batch(indices, data.pixels.get(indices), views, generator("any"), loop.fabric.device)
        sides = loop.objective.eval().embed(batch)
    return Reference(torch.zeros(len(data)), (sides[0].clone(), sides[1].clone()), loop.objective)


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.state_dict().values() if p.is_floating_point()])


def test_a_proxy_with_a_constant_criterion_is_the_uniform_run_bit_for_bit(start, monkeypatch):
    from models.criteria import learnability

    uniform = start(Policy("uniform", "top_k", 0.5))
    uniform.run()
    monkeypatch.setattr(learnability, "score", lambda learner, reference: torch.zeros_like(learner))
    proxied = start(PROXY)
    proxied.run()
    assert torch.equal(weights(uniform.objective), weights(proxied.objective))


def test_the_proxy_scores_and_learns_and_the_learner_does_not_score(start, monkeypatch):
    loop = start(PROXY)
    before = weights(loop.selector.scorer.objective)
    seen = []
    real = loop.selector.scorer.losses
    monkeypatch.setattr(loop.selector.scorer, "losses", lambda learner, batch: seen.append(len(batch.labels)) or real(learner, batch))
    loop.run()
    assert seen == [2 * BATCH] * 4
    assert not torch.equal(before, weights(loop.selector.scorer.objective))


@pytest.mark.parametrize(
    ("policy", "backbone"),
    [(PROXY, "test_resnet"), (ONLINE, "test_resnet"), (PROXY, "dropping")],
    ids=["proxy", "online", "drop"],
)
def test_a_killed_run_goes_on_with_the_same_picks(start, params, policy, backbone, tmp_path, monkeypatch):
    params.backbones["dropping"] = Backbone("test_vit", 32, {"patch_size": 4, "drop_path_rate": 0.2})
    import stages.training.checkpoint as module

    monkeypatch.setattr(module, "FOLDER", tmp_path)
    whole = start(policy, steps=6, backbone=backbone)
    whole.run()

    class Killed(Exception):
        pass

    def kill(state):
        if state.step == 3:
            raise Killed

    checkpoint = Checkpoint("proxy", 0.0)
    broken = start(policy, steps=6, backbone=backbone)
    with pytest.raises(Killed):
        broken.run(kill, checkpoint=checkpoint)
    resumed = start(policy, steps=6, backbone=backbone)
    resumed.run(checkpoint=Checkpoint("proxy", 1e9))
    assert torch.equal(whole.state.column("index"), resumed.state.column("index"))
    assert torch.equal(whole.state.column("index", passed=True), resumed.state.column("index", passed=True))
    assert torch.equal(weights(whole.objective), weights(resumed.objective))


@pytest.mark.parametrize("criterion", ["learnability", "hard", "easy"])
def test_joint_selection_with_the_sigmoid_loss_is_the_sampler_on_the_pairs(start, criterion):
    """The expected picks are those of models/samplers.py on matrices made here from the loss itself."""
    first = start(JOINT, "siglip", steps=1)
    reference = embedded(start(JOINT, "siglip", seed=3))
    policy = dataclasses.replace(JOINT, criterion=criterion)
    loop = start(policy, "siglip", steps=1, reference=reference)
    candidates = order.candidates(0, 2 * BATCH, len(loop.data), 0)
    batch = loop.data.batch(
        candidates, loop.data.pixels.get(candidates), loop.recipe.score_views, generator(0, "score", 0), loop.fabric.device
    )
    learner = scored(first.objective, batch).pair
    other = reference.pairs(candidates, loop.fabric.device)
    scores = {"learnability": learner - other, "hard": learner, "easy": -other}[criterion]
    expected = candidates[samplers.joint(scores, BATCH, 4, generator(0, "sample", 0)).numpy()]
    assert loop.run().column("index").tolist() == expected.tolist()


@pytest.mark.parametrize("criterion", ["learnability", "hard", "easy"])
def test_joint_selection_runs_with_the_softmax_loss(start, criterion):
    policy = dataclasses.replace(JOINT, criterion=criterion)
    loop = start(policy, "simclr", reference=embedded(start(JOINT, "simclr", seed=3)))
    picks = loop.run().column("index").view(-1, BATCH)
    assert all(len(set(row.tolist())) == BATCH for row in picks)


def test_joint_selection_without_embeddings_says_what_to_run(start):
    with pytest.raises(ValueError, match="no embeddings there, and selection by pairs needs them; run: dvc repro -f reference"):
        start(JOINT, "siglip").run()


def test_a_frozen_scorer_ranks_by_what_the_twin_and_the_reference_said(start):
    n = len(start().data)
    twin, known = torch.rand(n, generator=generator("twin")), torch.rand(n, generator=generator("known"))
    loop = start(dataclasses.replace(LEARNABILITY, scorer="frozen"), steps=1, reference=Reference(known, twin=twin))
    candidates = order.candidates(0, 2 * BATCH, n, 0)
    best = np.argsort(-(twin - known).numpy()[candidates], kind="stable")[:BATCH]
    assert sorted(loop.run().column("index").tolist()) == sorted(candidates[best].tolist())


def test_a_frozen_scorer_without_a_twin_is_refused_before_anything_is_computed(start):
    with pytest.raises(ValueError, match="reference.twin: false, and criterion learnability"):
        start(dataclasses.replace(LEARNABILITY, scorer="frozen"))


@pytest.mark.parametrize(
    ("policy", "reads"),
    [
        (UNIFORM, False),
        (Policy("uniform", scorer="frozen"), False),
        (Policy("hard", ratio=0.5), False),
        (Policy("easy", ratio=0.5, scorer="frozen"), True),
        (Policy("hard", ratio=0.5, scorer="frozen"), True),
        (LEARNABILITY, True),
        (PROXY, True),
        (Policy("learnability", scorer="replay"), False),
    ],
)
def test_only_who_reads_a_reference_pays_for_it(policy, reads):
    assert needs_reference(policy) is reads


def test_gradient_norm_is_that_of_autograd(start):
    """The oracle is the gradient of each example's loss by its logits."""
    loop = start()
    indices = np.arange(BATCH)
    batch = loop.data.batch(indices, loop.data.pixels.get(indices), loop.recipe.score_views, generator("any"), loop.fabric.device)
    norm = scored(loop.objective, batch).gradient_norm
    logits = loop.objective.eval().classify(batch.views["image"][0]).detach().requires_grad_()
    torch.nn.functional.cross_entropy(logits, batch.labels, reduction="sum").backward()
    torch.testing.assert_close(norm, logits.grad.norm(dim=1))
    start(Policy("gradient_norm", "top_k", 0.5)).run()


def test_gradient_norm_needs_a_classifier(start):
    with pytest.raises(ValueError, match="gradient_norm needs a method with a classifier"):
        start(Policy("gradient_norm", "top_k", 0.5), "simclr").run()


def test_a_replayed_trace_trains_on_the_same_examples_and_scores_nothing(start, tmp_path):
    small = start(PROXY)
    chosen = small.run().column("index").numpy()
    table = {"uid": [small.data.uids[i] for i in chosen] + ["0" * 32], "selected": [True] * len(chosen) + [False]}
    pq.write_table(pa.table(table), tmp_path / "trace.parquet")
    again = replayed(tmp_path / "trace.parquet", small.data.uids)
    policy = Policy("uniform", scorer="replay")
    big = start(policy, "simclr", selector=lambda recipe, data: Replay(policy, recipe, data, again, 0))
    assert big.selector.steps == 4
    assert sorted(big.run().column("index").tolist()) == sorted(chosen.tolist())
    assert step_flops(big.objective, big.recipe, policy, big.data).score == 0


def test_a_trace_of_other_examples_is_refused(start, tmp_path):
    pq.write_table(pa.table({"uid": ["f" * 32], "selected": [True]}), tmp_path / "trace.parquet")
    with pytest.raises(ValueError, match=r"1 of its examples are not in this version \(ffff"):
        replayed(tmp_path / "trace.parquet", start().data.uids)
    with pytest.raises(ValueError, match=r"arms.\*.after: .* is no trace"):
        replayed(tmp_path / "nothing.parquet", start().data.uids)


def test_what_is_recorded_of_the_rejected_was_scored_and_not_trained_on(start):
    loop = start(Policy("hard", "top_k", 0.75))
    state = loop.run()
    assert len(state.column("index", passed=True)) == 4 * (BATCH // 8)
    for step in range(4):
        of = state.column("step") == step
        out = state.column("step", passed=True) == step
        assert not set(state.column("index")[of].tolist()) & set(state.column("index", passed=True)[out].tolist())
        assert sorted(state.column("rank")[of].tolist()) == list(range(BATCH))
        assert state.column("score", passed=True)[out].max() <= state.column("score")[of].min()
        assert (state.column("rank", passed=True)[out] >= BATCH).all()


def test_scoring_at_low_resolution_costs_the_forward_at_that_size(start):
    """algorithms A.7 and B.2: s r for scoring, tau for training; here s and tau are the counter's own at the smaller size."""
    loop = start()
    head = 2 * 96 * loop.data.classes
    full, small = (count(loop.objective.encoder, (3, size, size)) for size in (28, 16))
    coarse = Policy("learnability", "top_k", 0.5, resolution=16)
    at = lambda policy: step_flops(loop.objective, loop.recipe, policy, loop.data)  # noqa: E731
    assert at(coarse) == StepFlops(2 * BATCH * (small.forward + head), BATCH * (full.train + 3 * head))
    half = dataclasses.replace(coarse, coarse=True)
    assert at(half).train == BATCH // 2 * (full.train + small.train + 6 * head)


def test_a_proxys_scoring_and_training_are_both_charged_to_scoring(start, params):
    loop = start(PROXY)
    proxy = loop.selector.scorer.objective
    head = 2 * proxy.head.in_features * loop.data.classes
    one = count(proxy.encoder, (3, 28, 28))
    spent = step_flops(loop.objective, loop.recipe, PROXY, loop.data, proxy)
    assert spent.score == 2 * BATCH * (one.forward + head) + BATCH * (one.train + 3 * head)
    assert spent.train == step_flops(loop.objective, loop.recipe, UNIFORM, loop.data).train


def test_joint_scoring_counts_the_references_pairs(start):
    loop = start(JOINT, "siglip")
    reference = embedded(loop)
    independent = step_flops(loop.objective, loop.recipe, LEARNABILITY, loop.data).score
    spent = step_flops(loop.objective, loop.recipe, JOINT, loop.data, reference=reference).score
    assert spent == independent + 2 * (2 * BATCH) ** 2 * 64  # (2b, 64) times (64, 2b)


def test_half_of_a_coarse_batch_is_trained_small(start):
    loop = start(Policy("learnability", "top_k", 0.5, resolution=16, coarse=True), steps=2)
    indices = loop.selector.indices(0)
    picked = loop.selector.pick(loop.module, indices, loop.data.pixels.get(indices), 0, loop.fabric.device)
    sizes = [(len(b.labels), b.views["image"][0].shape[-1]) for b in loop.selector.batches(picked, 0, loop.fabric.device)]
    assert sizes == [(BATCH // 2, 28), (BATCH // 2, 16)]
    assert len(loop.run().column("index")) == 2 * BATCH


def test_scoring_and_half_of_the_training_with_coarse_patches_cost_the_forward_with_them(start):
    """Flexi-JEST: s r for scoring, tau for training (algorithms A.6); here s and tau are the counter's own with patches of 8 px."""
    policy = Policy("learnability", "top_k", 0.5, patch=8, coarse=True)
    loop = start(policy, backbone="test_vit")
    encoder, head = loop.objective.encoder, 2 * 64 * loop.data.classes  # test_vit has 64 features
    fine = count(encoder, (3, 32, 32))
    with encoders.at_patch(encoder, 8):
        coarse = count(encoder, (3, 32, 32))
    spent = step_flops(loop.objective, loop.recipe, policy, loop.data)
    kernel = 2 * 3 * 64 * 16 * 64  # the resampled kernel, once a forward: (3 x 64, 16) times (16, 64)
    assert spent.score == 2 * BATCH * (coarse.forward + head) + kernel
    assert spent.train == BATCH // 2 * (fine.train + coarse.train + 6 * head) + 2 * kernel
    assert coarse.forward < 0.3 * fine.forward


def test_flexi_jest_trains_both_halves_as_one_batch_of_pairs(start):
    """The second half is cut coarsely, and each image has all the batch's texts against it."""
    policy = dataclasses.replace(JOINT, patch=8, coarse=True)
    loop = start(policy, "siglip", steps=2, reference=embedded(start(JOINT, "siglip", backbone="test_vit")), backbone="test_vit")
    indices = loop.selector.indices(0)
    picked = loop.selector.pick(loop.module, indices, loop.data.pixels.get(indices), 0, loop.fabric.device)
    parts = loop.selector.batches(picked, 0, loop.fabric.device)
    assert [(len(part.labels), part.patch) for part in parts] == [(BATCH // 2, None), (BATCH // 2, 8)]
    assert loop.objective.eval()(*parts).pair.shape == (BATCH, BATCH)
    assert len(loop.run().column("index")) == 2 * BATCH


def test_a_softmax_over_pairs_is_compared_among_the_same_candidates(start):
    """NT-Xent grows with the number of negatives: a reference's loss among others of another number would be no loss to subtract."""
    reference = embedded(start(LEARNABILITY, "simclr", seed=3))
    loop = start(LEARNABILITY, "simclr", reference=reference)
    indices = loop.selector.indices(0)
    images = loop.data.pixels.get(indices)
    picked = loop.selector.pick(loop.module, indices, images, 0, loop.fabric.device)
    first, second = (side[torch.from_numpy(indices)] for side in reference.embeddings)
    expected = reference.objective.compare(first, second).example
    place = {int(index): i for i, index in enumerate(indices)}
    torch.testing.assert_close(picked.reference_loss, expected[[place[int(i)] for i in picked.indices]])
    plain = step_flops(loop.objective, loop.recipe, LEARNABILITY, loop.data, reference=Reference(torch.zeros(len(loop.data))))
    spent = step_flops(loop.objective, loop.recipe, LEARNABILITY, loop.data, reference=reference)
    assert spent.score - plain.score == 2 * (4 * BATCH) ** 2 * 64  # 2 views of 2b candidates: (4b, 64) times (64, 4b)


def test_an_online_reference_learns_from_trusted_examples_and_is_asked_afresh(start, monkeypatch):
    loop = start(ONLINE, steps=3)
    reference, seen = loop.selector.reference, []
    real = reference.trusted.batch
    monkeypatch.setattr(reference.trusted, "batch", lambda *args: seen.extend(args[0]) or real(*args))
    indices = loop.selector.indices(0)
    images = loop.data.pixels.get(indices)
    batch = loop.data.batch(indices, images, loop.recipe.score_views, generator(0, "score", 0), loop.fabric.device)
    expected = scored(loop.objective, batch).example - scored(reference.model.objective, batch).example
    picked = loop.selector.pick(loop.module, indices, images, 0, loop.fabric.device)
    assert sorted(picked.indices) == sorted(indices[samplers.top_k(expected, BATCH).numpy()])
    before = weights(reference.model.objective)
    loop.run()
    assert len(seen) == len(set(seen)) == 3 * BATCH  # 24 of its 60, without repetition
    assert not torch.equal(before, weights(reference.model.objective))


def test_an_online_reference_is_charged_to_scoring(start):
    loop = start(ONLINE)
    online = loop.selector.reference.model.objective
    head = 2 * online.head.in_features * loop.data.classes
    one = count(online.encoder, (3, 28, 28))
    alone = step_flops(loop.objective, loop.recipe, LEARNABILITY, loop.data)
    spent = step_flops(loop.objective, loop.recipe, ONLINE, loop.data, online=online)
    assert spent.score == alone.score + 2 * BATCH * (one.forward + head) + BATCH * (one.train + 3 * head)
    assert spent.train == alone.train


def test_pairs_that_are_not_finite_name_their_examples(start, tmp_path, monkeypatch):
    monkeypatch.setattr(unfinite, "FOLDER", tmp_path)
    reference = embedded(start(JOINT, "siglip", seed=3))
    loop = start(JOINT, "siglip", reference=reference)
    bad = int(loop.selector.indices(0)[5])
    reference.embeddings[0][bad] = torch.nan
    with pytest.raises(ValueError, match=f"step 0: the scores of 1 candidates are not finite, uids {loop.data.uids[bad]} "):
        loop.run()
    assert (tmp_path / f"{loop.data.uids[bad]}.csv").read_text().splitlines()[0] == "uid,reference_pairs"


@pytest.mark.parametrize("policy", [LEARNABILITY, PROXY, ONLINE, dataclasses.replace(LEARNABILITY, resolution=16)])
def test_scoring_leaves_no_trace_in_the_learner(start, policy):
    loop = start(policy)
    before, random = weights(loop.objective), torch.get_rng_state()
    indices = loop.selector.indices(0)
    loop.module.train()
    loop.selector.pick(loop.module, indices, loop.data.pixels.get(indices), 0, loop.fabric.device)
    assert torch.equal(before, weights(loop.objective))  # BatchNorm's statistics are part of it
    assert torch.equal(random, torch.get_rng_state())
    assert loop.objective.training
    assert all(p.grad is None for p in loop.objective.parameters())


def test_a_refined_version_finds_its_own_losses():
    """The reference judged the whole pool version; a part of it, in its own order of uids, gets the losses of the same uids."""
    known = sorted(f"{number:032x}" for number in (3, 17, 99, 256, 1 << 100))
    part = [known[1], known[4]]
    assert _places(known, part).tolist() == [1, 4]
    assert _places(known, known).tolist() == list(range(5))
    for stranger in ("0" * 32, "f" * 32):
        with pytest.raises(ValueError, match="dvc repro reference"):
            _places(known, [*part, stranger])
