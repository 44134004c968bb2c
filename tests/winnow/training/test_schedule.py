"""Layer-wise learning rates against timm's, and an encoder that is held: nothing of it moves, then all."""

from dataclasses import replace

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay

from tests.loops import Starter, weights
from winnow.config.schema import Backbone, Method
from winnow.training.build import build_objective, optimisation
from winnow.training.checkpoint import Checkpoint
from winnow.training.schedule import ENCODER, from_scratch, held_steps, recipe_of

VIT = Backbone("test_vit", 32, {"patch_size": 4})


def groups_of(objective, recipe, steps=10):
    """Name of a weight -> its group, at the first step."""
    optimizer, _ = optimisation(objective, recipe, steps)
    names = {id(weight): name for name, weight in objective.named_parameters()}
    return {names[id(weight)]: group for group in optimizer.param_groups for weight in group["params"]}


@pytest.mark.parametrize("backbone", [VIT, Backbone("test_resnet"), Backbone("test_byobnet")])
def test_the_learning_rate_decays_towards_the_input(backbone):
    """The oracle is timm's own grouping of the whole model, classifier included; and no weight is lost or in
    two groups.
    """
    objective = build_objective("supervised", {}, backbone, 10, 0)
    groups = groups_of(objective, Method(layer_decay=0.5, warmup=0.0, lr=0.2, weight_decay=0.1))
    assert set(groups) == {name for name, weight in objective.named_parameters() if weight.requires_grad}
    theirs = timm.create_model(backbone.name, num_classes=10, **backbone.kwargs)
    spared = getattr(theirs, "no_weight_decay", set)()
    expected = param_groups_layer_decay(theirs, 0.1, spared, layer_decay=0.5)
    found = {id(weight): group for group in expected for weight in group["params"]}
    for name, weight in theirs.named_parameters():
        head = name.startswith(theirs.pretrained_cfg["classifier"])
        group = groups[f"head.{name.rpartition('.')[2]}" if head else f"encoder.{name}"]
        assert group["lr"] == pytest.approx(0.2 * found[id(weight)]["lr_scale"]), name
        assert group["weight_decay"] == found[id(weight)]["weight_decay"], name
        assert group.get(ENCODER, False) is not head


def test_the_rates_of_a_transformer_by_hand():
    """BEiT's rule for six blocks: head 1, last block 1/2, ..., first 1/2^6, embedding 1/2^7."""
    objective = build_objective("supervised", {}, VIT, 10, 0)
    groups = groups_of(objective, Method(layer_decay=0.5, warmup=0.0, lr=1.0))
    names = ["head.weight", *(f"encoder.blocks.{i}.attn.qkv.weight" for i in range(5, -1, -1))]
    names.append("encoder.patch_embed.proj.weight")
    assert [groups[name]["lr"] for name in names] == [0.5**power for power in range(8)]


@pytest.mark.parametrize("method", ["supervised", "dino", "simclr"])
def test_without_the_two_settings_the_groups_are_as_before(method):
    """Origin: timm's two groups, with and without weight decay, of all weights that train."""
    objective = build_objective(method, {}, Backbone("test_resnet"), 10, 0)
    optimizer, _ = optimisation(objective, Method(), 10)
    assert [ENCODER in group for group in optimizer.param_groups] == [False, False]
    groups = groups_of(objective, Method(freeze=0.5))
    assert {name for name, group in groups.items() if ENCODER in group} == {
        name for name in groups if name.startswith(("encoder.", "student.encoder."))
    }


def test_a_released_encoder_warms_up_on_its_own():
    objective = build_objective("supervised", {}, Backbone("test_resnet"), 10, 0)
    optimizer, schedule = optimisation(objective, Method(freeze=0.25, warmup=0.2, lr=1.0), 20)
    plain = optimisation(objective, Method(warmup=0.2, lr=1.0), 20)
    encoder = next(group for group in optimizer.param_groups if group.get(ENCODER))
    head = next(group for group in optimizer.param_groups if not group.get(ENCODER))
    for step in range(20):
        schedule.step_update(step)
        plain[1].step_update(step)
        whole = plain[0].param_groups[0]["lr"]
        assert head["lr"] == whole
        share = 0.0 if step < 5 else min(1.0, (step - 5) / 4)
        assert encoder["lr"] == pytest.approx(whole * share)


@pytest.fixture
def held(start):
    """A function: a loop of a method that holds its encoder for half of its steps."""

    def begin(method, steps=4):
        recipe = replace(start.params.methods[method], freeze=0.5, layer_decay=0.7)
        params = replace(start.params, methods={**start.params.methods, method: recipe})
        return Starter(params, start.pool)(method=method, steps=steps)

    return begin


@pytest.mark.slow
@pytest.mark.parametrize("method", ["supervised", "dino", "simclr"])
def test_a_held_encoder_keeps_every_byte_and_its_heads_learn(method, held):
    """BatchNorm's statistics among them, and those of DINO's teacher, which is what is exported."""
    loop = held(method)
    parts = {"trained": loop.objective.trained(), "exported": loop.objective.exported()}
    before = {name: weights(part) for name, part in parts.items()}
    whole, changed = weights(loop.objective), []

    def watch(state):
        same = [weights(part) == before[name] for name, part in parts.items()]
        changed.append((all(same), not any(same)))
        assert weights(loop.objective) != whole

    loop.run(watch)
    assert changed[0][0], "held in the first half"
    assert changed[1][0], "held in the first half"
    assert changed[3][1], "released in the second"


@pytest.mark.slow
@pytest.mark.parametrize("killed_in", [1, 3])
def test_a_held_run_resumes_with_the_same_bytes(killed_in, held, tmp_path):
    whole = held("dino")
    whole.run()

    def kill(state):
        if state.step == killed_in + 1:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        held("dino").run(kill, checkpoint=Checkpoint(tmp_path, "run", 0.0))
    resumed = held("dino")
    resumed.run(checkpoint=Checkpoint(tmp_path, "run", 1e9))
    assert resumed.resumed
    assert weights(resumed.objective) == weights(whole.objective)


def test_both_settings_are_for_weights_to_start_from_alone(digits_params):
    recipe = replace(digits_params.methods["supervised"], layer_decay=0.5, freeze=0.2)
    backbones = {"new": Backbone("test_resnet"), "old": Backbone("test_resnet", weights="w.pth")}
    params = replace(digits_params, methods={"supervised": recipe}, backbones=backbones)
    assert recipe_of(params, "supervised", "old") == recipe
    assert recipe_of(params, "supervised", "new") == from_scratch(recipe)
    assert (from_scratch(recipe).layer_decay, from_scratch(recipe).freeze) == (None, 0.0)


@pytest.mark.parametrize(("freeze", "steps", "expected"), [(0.0, 10, 0), (0.25, 10, 2), (0.99, 10, 9)])
def test_how_many_steps_are_held(freeze, steps, expected):
    assert held_steps(Method(freeze=freeze), steps) == expected
    assert torch.tensor(expected) < steps
