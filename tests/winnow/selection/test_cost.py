"""The budget is FLOPs: what a step costs, by hand, and how many steps a budget buys.

Per example, F is the counter's forward of an encoder, T its forward and backward: 3 F less the first layer's
input gradient, which nobody computes. Everything behind the encoder has both gradients, so it trains at 3 x
its forward. With b trained on of B candidates, a step costs b T + B F.
"""

from dataclasses import replace

import pytest
import torch

from models import encoders
from models.flops import count
from tests.loops import BATCH, JOINT, LEARNABILITY, ONLINE, PROXY, embedded
from winnow.config.schema import Method, Policy
from winnow.selection.cost import StepFlops, step_flops, steps_within, trained_flops
from winnow.selection.policy import UNIFORM
from winnow.selection.reference import Reference

WIDTH = 96  # features of test_resnet


def cost(loop, policy, **more):
    return step_flops(loop.objective, loop.recipe, policy, loop.data, **more)


def similarities(rows, columns, width):
    return 2 * rows * columns * width


@pytest.mark.slow
def test_supervised(start):
    loop = start()
    one, head = count(loop.objective.encoder, (3, 28, 28)), 2 * WIDTH * loop.data.classes
    uniform = StepFlops(score=0, train=BATCH * (one.train + 3 * head))
    assert cost(loop, UNIFORM) == uniform
    assert cost(loop, LEARNABILITY) == replace(uniform, score=2 * BATCH * (one.forward + head))
    easy = Policy("easy", "top_k", 0.5)
    assert cost(loop, easy) == uniform  # the losses of a finished reference are looked up


@pytest.mark.slow
def test_simclr_has_two_views_and_a_matrix_of_similarities(start):
    loop = start(method="simclr")
    one, head = count(loop.objective.encoder, (3, 28, 28)), 2 * (WIDTH * 256 + 256 * 64)
    spent = cost(loop, LEARNABILITY)
    scored = 2 * 2 * BATCH  # views of candidates
    assert spent.score == scored * (one.forward + head) + similarities(scored, scored, 64)
    trained = 2 * BATCH
    assert spent.train == trained * (one.train + 3 * head) + 3 * similarities(trained, trained, 64)


@pytest.mark.slow
def test_dino_has_a_teacher_and_views_of_two_sizes(start):
    """Teacher and student see the global views; local ones are trained on, and not scored."""
    loop = start(method="dino")
    settings, views = loop.objective.config, loop.recipe.views
    large, small = (count(loop.objective.student["encoder"], (3, size, size)) for size in (28, 16))
    hidden, bottleneck = settings.hidden, settings.bottleneck
    layers = WIDTH * hidden + hidden * hidden + hidden * bottleneck
    head = 2 * (layers + bottleneck * settings.prototypes)
    assert (views["global"].count, views["local"].count, views["local"].size) == (2, 6, 16)
    spent = cost(loop, Policy("hard", "top_k", 0.5))
    assert spent.score == 2 * BATCH * (2 + 2) * (large.forward + head)
    teacher = 2 * (large.forward + head)
    student = 2 * large.train + 6 * small.train + (2 + 6) * 3 * head
    assert spent.train == BATCH * (teacher + student)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["siglip", "clip"])
def test_two_towers_have_a_text_and_a_matrix_of_pairs(start, method):
    """A text of N tokens of width d: each layer N 12 d^2 + 2 N^2 d MACs; its last token is projected."""
    loop = start(method=method)
    settings = loop.objective.config
    one, head = count(loop.objective.encoder, (3, 28, 28)), 2 * WIDTH * settings.embed
    tokens, width = settings.context, settings.text_width
    layer = tokens * 12 * width**2 + 2 * tokens**2 * width
    text = 2 * (settings.text_layers * layer + width * settings.embed)
    spent = cost(loop, Policy("hard", "top_k", 0.5))
    scored = 2 * BATCH
    assert spent.score == scored * (one.forward + head + text) + similarities(scored, scored, settings.embed)
    pairs = similarities(BATCH, BATCH, settings.embed)
    assert spent.train == BATCH * (one.train + 3 * (head + text)) + 3 * pairs


@pytest.mark.slow
def test_low_resolution_costs_the_forward_at_that_size(start):
    loop, head = start(), 2 * WIDTH * 10
    full, small = (count(loop.objective.encoder, (3, size, size)) for size in (28, 16))
    low = replace(LEARNABILITY, resolution=16)
    scored = 2 * BATCH * (small.forward + head)
    assert cost(loop, low) == StepFlops(scored, BATCH * (full.train + 3 * head))
    both = replace(low, multi_resolution=True)
    assert cost(loop, both) == StepFlops(scored, BATCH // 2 * (full.train + small.train + 6 * head))


@pytest.mark.slow
def test_coarse_patches_cost_the_forward_with_them(start):
    """Beside it the kernel is resampled, once in each forward: (3 x 64, 16) times (16, 64)."""
    policy = replace(LEARNABILITY, patch_size=8, multi_resolution=True)
    loop = start(policy, backbone="test_vit")
    encoder, head = loop.objective.encoder, 2 * 64 * loop.data.classes  # test_vit has 64 features
    fine = count(encoder, (3, 32, 32))
    with encoders.at_patch(encoder, 8):
        coarse = count(encoder, (3, 32, 32))
    kernel = 2 * 3 * 64 * 16 * 64
    spent = cost(loop, policy)
    assert spent.score == 2 * BATCH * (coarse.forward + head) + kernel
    assert spent.train == BATCH // 2 * (fine.train + coarse.train + 6 * head) + 2 * kernel
    assert coarse.forward < 0.3 * fine.forward


@pytest.mark.slow
def test_a_proxys_scoring_and_training_are_both_charged_to_scoring(start):
    loop = start(PROXY)
    proxy = loop.selector.scorer.objective
    one, head = count(proxy.encoder, (3, 28, 28)), 2 * proxy.head.in_features * loop.data.classes
    spent = cost(loop, PROXY, proxy=proxy)
    assert spent.score == 2 * BATCH * (one.forward + head) + BATCH * (one.train + 3 * head)
    assert spent.train == cost(loop, UNIFORM).train


@pytest.mark.slow
def test_an_online_reference_is_charged_to_scoring(start):
    loop = start(ONLINE)
    online = loop.selector.reference.model.objective
    one, head = count(online.encoder, (3, 28, 28)), 2 * online.head.in_features * loop.data.classes
    spent, alone = cost(loop, ONLINE, online=online), cost(loop, LEARNABILITY)
    assert spent.score == alone.score + 2 * BATCH * (one.forward + head) + BATCH * (one.train + 3 * head)
    assert spent.train == alone.train


@pytest.mark.slow
def test_joint_scoring_counts_the_references_pairs(start):
    loop = start(JOINT, "siglip")
    spent = cost(loop, JOINT, reference=embedded(loop)).score
    assert spent == cost(loop, LEARNABILITY).score + similarities(2 * BATCH, 2 * BATCH, 64)
    hard = replace(JOINT, criterion="hard")
    assert cost(loop, hard, reference=embedded(loop)).score == cost(loop, LEARNABILITY).score


@pytest.mark.slow
def test_losses_of_a_softmax_among_the_candidates_are_counted(start):
    loop = start(LEARNABILITY, "simclr")
    plain = cost(loop, LEARNABILITY, reference=Reference(torch.zeros(len(loop.data)))).score
    spent = cost(loop, LEARNABILITY, reference=embedded(loop)).score
    assert spent - plain == similarities(4 * BATCH, 4 * BATCH, 64)  # 2 views of 2 b candidates


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "dino"])
def test_a_held_encoder_costs_its_forward_alone(start, method):
    """Of the heads, forward and both gradients, but for the input gradient that a held encoder needs not."""
    loop = start(method=method)
    assert cost(loop, UNIFORM).held == 0
    held = step_flops(loop.objective, replace(loop.recipe, freeze=0.1), UNIFORM, loop.data)
    assert (held.train, held.score) == (cost(loop, UNIFORM).train, 0)
    if method == "supervised":
        one, head = count(loop.objective.encoder, (3, 28, 28)), 2 * WIDTH * loop.data.classes
        assert held.held == BATCH * (one.forward + 2 * head)
    large, small = (count(loop.objective.trained(), (3, size, size)) for size in (28, 16))
    backward = 2 * (large.train - large.forward) + 6 * (small.train - small.forward)
    if method == "dino":
        first = 2 * WIDTH * loop.objective.config.hidden
        assert held.train - held.held == BATCH * (backward + 8 * first)


@pytest.mark.parametrize("freeze", [0.0, 0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("budget", [100, 1000, 12_345])
def test_the_most_steps_that_fit_where_some_are_cheaper(freeze, budget):
    """Against trying every number of steps."""
    step, recipe = StepFlops(score=7, train=70, held=25), Method(freeze=freeze)

    def spent(steps):
        return 7 * steps + trained_flops(step, steps, int(freeze * steps))

    fitting = [steps for steps in range(1, budget) if 11 + spent(steps) <= budget]
    assert fitting == list(range(1, len(fitting) + 1))
    assert steps_within(budget, 11, step, recipe) == len(fitting)


def test_steps_within_a_budget():
    step = StepFlops(score=30, train=70)
    assert steps_within(1000, 0, step) == 10
    assert steps_within(1000, 1, step) == 9
    assert steps_within(1099, 99, step) == 10
    says = r"pretrain.budget: 500 FLOPs; .* share is 450, one step 100: give at least 550"
    with pytest.raises(ValueError, match=says):
        steps_within(500, 450, step)
