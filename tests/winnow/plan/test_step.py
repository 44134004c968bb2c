"""A step that is counted from settings alone costs what winnow/selection/cost.py counts in a run."""

from dataclasses import replace

import pytest

from tests.loops import BATCH, JOINT, LEARNABILITY, ONLINE, PROXY, embedded
from winnow.config.schema import Policy
from winnow.plan.amount import MOST, Amount
from winnow.plan.step import judging_flops, own_size, training_step
from winnow.selection.cost import step_flops
from winnow.selection.policy import UNIFORM
from winnow.selection.train_reference import CHUNK, judge
from winnow.training.device import launch

CASES = [
    ("supervised", UNIFORM),
    ("supervised", LEARNABILITY),
    ("supervised", PROXY),
    ("supervised", ONLINE),
    ("supervised", replace(LEARNABILITY, resolution=16, multi_resolution=True)),
    ("dino", Policy("hard", "top_k", 0.5)),
    ("simclr", LEARNABILITY),
    ("clip", LEARNABILITY),
    ("siglip", JOINT),
]


@pytest.mark.slow
@pytest.mark.parametrize(("method", "policy"), CASES)
def test_a_step_without_data_costs_what_it_costs_with_data(start, method, policy):
    loop = start(policy, method)
    backbone, recipe = start.params.backbones["test_resnet"], start.recipe(method)
    models = {"proxy": loop.selector.scorer.objective} if policy.proxy else {}
    models |= {"online": loop.selector.reference.model.objective} if policy.online else {}
    reference = embedded(loop) if loop.objective.PAIR and not policy.online else None
    expected = step_flops(loop.objective, recipe, policy, loop.data, reference=reference, **models)
    teacher = (method, recipe, backbone)
    assert training_step(method, recipe, policy, backbone, loop.data.classes, teacher) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("method", "count"), [("simclr", 150), ("simclr", 700), ("supervised", 700)])
def test_judging_costs_what_a_reference_counts(start, method, count):
    """With a chunk that is filled up, and without."""
    loop, data = start(method=method), start.examples(method, count)
    params = replace(start.params, methods={method: start.recipe(method)})
    fabric = launch(params.run)
    _, expected = judge(params, fabric, loop.objective, data, method)
    assert (len(data) > CHUNK) is (count > CHUNK)
    found = judging_flops(loop.objective, start.recipe(method), data, Amount(len(data), MOST))
    assert found == Amount(expected, MOST)


def test_a_supervised_resnet_step_is_three_forwards_of_each_image(start):
    """resnet18 at 224 px has 1.82 GMACs (timm's table); the first layer computes no input gradient."""
    recipe = start.recipe("supervised")
    backbone = replace(start.params.backbones["test_resnet"], name="resnet18", image_size=224)
    step = training_step("supervised", recipe, UNIFORM, backbone, 1000)
    first = 2 * 112 * 112 * 64 * 3 * 49
    assert step.score == 0
    assert step.train == pytest.approx(BATCH * (3 * 2 * 1.82e9 - first), rel=0.005)


def test_timms_own_image_size():
    assert own_size("vit_base_patch16_224") == 224
    assert own_size("vit_tiny_patch16_384") == 384
    with pytest.raises(ValueError, match="no timm model; near names: resnet"):
        own_size("resnet19")
