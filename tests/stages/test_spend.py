"""The budget is FLOPs: what a step costs, by hand, and how many steps a budget buys."""

import pytest

from models.flops import count
from stages.params import Policy
from stages.training.build import build
from stages.training.spend import StepFlops, step_flops, steps_within


def test_supervised_step_is_the_analytic_formula(digits, recipe, digits_params):
    """algorithms B.2: cost = 3 F b (less the first layer's input gradient, which nobody computes) + F B for scoring."""
    data, chosen = digits(), recipe(batch_size=8)
    objective = build(digits_params, "supervised", "test_resnet", data.classes, 0)
    one = count(objective.encoder, (3, 28, 28))
    head = 2 * 96 * data.classes  # test_resnet has 96 features
    uniform = step_flops(objective, chosen, Policy("uniform", "top_k", 0.0), data)
    assert uniform == StepFlops(score=0, train=8 * (one.train + 3 * head))
    chosen_half = step_flops(objective, chosen, Policy("learnability", "top_k", 0.5), data)
    assert chosen_half == StepFlops(score=16 * (one.forward + head), train=uniform.train)
    assert step_flops(objective, chosen, Policy("easy", "top_k", 0.5), data).score == 0  # the reference's losses are cached


def test_simclr_step_counts_two_views_and_the_similarity_matrix(digits, recipe, digits_params):
    data, chosen = digits("simclr"), recipe("simclr", 8)
    objective = build(digits_params, "simclr", "test_resnet", data.classes, 0)
    spent = step_flops(objective, chosen, Policy("learnability", "top_k", 0.5), data)
    one = count(objective.encoder, (3, 28, 28))
    head = 2 * (96 * 256 + 256 * 64)
    similarity = lambda n: 2 * (2 * n) ** 2 * 64  # noqa: E731 - (2n, 64) times (64, 2n)
    assert spent.score == 2 * 16 * (one.forward + head) + similarity(16)
    assert spent.train == 2 * 8 * (one.train + 3 * head) + 3 * similarity(8)


@pytest.mark.parametrize("method", ["dino", "siglip"])
def test_every_method_can_be_counted_without_data(method, digits, recipe):
    from stages import compose
    from stages.params import parse
    from stages.training.build import open_for

    params = parse(compose.composed(["dataset=digits", "scale=debug", "experiment=methods"]))
    data = open_for(params, method, "test_resnet", digits().pixels.pool, digits().uids)
    objective = build(params, method, "test_resnet", data.classes, 0)
    spent = step_flops(objective, params.methods[method], Policy("hard", "top_k", 0.5), data)
    assert spent.train > spent.score > 0


def test_steps_within_a_budget():
    step = StepFlops(score=30, train=70)
    assert steps_within(1000, 0, step) == 10
    assert steps_within(1000, 1, step) == 9
    assert steps_within(1099, 99, step) == 10
    with pytest.raises(ValueError, match=r"pretrain.budget: 500 FLOPs; .* share is 450, one step 100: give at least 550"):
        steps_within(500, 450, step)
