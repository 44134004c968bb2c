"""From params to a method and its optimiser; mistakes are one line."""

import math
from dataclasses import replace

import pytest
import torch

from winnow.config.errors import ParamsError
from winnow.config.schema import Backbone, Method
from winnow.training.build import build, build_objective, optimisation

RESNET = Backbone("test_resnet", 28)


def test_the_seed_alone_decides_the_weights(start):
    torch.manual_seed(5)
    one = build(start.params, "dino", "test_resnet", 10, 3).state_dict()
    torch.manual_seed(6)
    two = build(start.params, "dino", start.params.backbones["test_resnet"], 10, 3).state_dict()
    other = build(start.params, "dino", "test_resnet", 10, 4).state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["student.head.prototypes"], other["student.head.prototypes"])


@pytest.mark.parametrize(
    ("settings", "backbone", "says"),
    [
        ({"temprature": 0.1}, RESNET, "methods.simclr.settings.temprature: not a key; did you mean"),
        ({"temperature": 0.0}, RESNET, "methods.simclr.settings: temperature: 0.0 is out of range"),
        (
            {},
            Backbone("test_resnot", 28),
            "backbones: 'test_resnot' is no timm model; near names: .*test_res",
        ),
        ({}, replace(RESNET, kwargs={"depth": 3}), "backbones: test_resnet at 28 px .* cannot be built"),
    ],
)
def test_what_cannot_be_built_is_one_line(settings, backbone, says):
    with pytest.raises(ParamsError, match=says) as caught:
        build_objective("simclr", settings, backbone, 10, 0)
    assert "\n" not in str(caught.value)


def test_the_learning_rate_warms_up_and_falls_on_a_cosine():
    """Expected: lr * k / warm-up, then lr / 2 * (1 + cos(pi * (k - warm-up) / (steps - warm-up)))."""
    recipe = Method(lr=0.4, warmup=0.2)
    objective = build_objective("supervised", {}, RESNET, 10, 0)
    optimizer, schedule = optimisation(objective, recipe, 20)
    found = []
    for step in range(20):
        schedule.step_update(step)
        found.append(optimizer.param_groups[0]["lr"])
    rising = [0.4 * k / 4 for k in range(4)]
    falling = [0.2 * (1 + math.cos(math.pi * k / 20)) for k in range(4, 20)]
    assert found == pytest.approx(rising + falling)
