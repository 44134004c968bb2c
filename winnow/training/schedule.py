"""The learning rate of each weight at each step, and how gently training begins where it starts from weights.

Two settings of a recipe protect what an encoder knows; both apply only where it starts from weights
(`continued`). `layer_decay` multiplies the learning rate by a constant for each layer further from the head
(BEiT, arXiv 2106.08254; grouped as timm groups layers). `freeze` is the share of the steps in which the
encoder is held and the new heads alone are trained: the gradients of a random head distort good features
(LP-FT, arXiv 2202.10054). A held encoder is in eval mode, so that its BatchNorm statistics stay too; once
released, its own learning rate warms up, for its optimiser state is new.
"""

from dataclasses import replace
from typing import Any

import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import nn

from models.methods import Objective
from winnow.config.schema import Method, Params
from winnow.training.pace import Pace, as_pace

ENCODER = "encoder"  # marks the optimiser's groups of encoder weights


def recipe_of(params: Params, method: str, backbone: str) -> Method:
    """The method's recipe, as it is for this backbone: `layer_decay` and `freeze` are for weights to start
    from, and an encoder that is trained from scratch gets neither.
    """
    recipe = params.methods[method]
    return recipe if params.backbones[backbone].weights else from_scratch(recipe)


def from_scratch(recipe: Method) -> Method:
    """The recipe without what protects weights that are there."""
    return replace(recipe, layer_decay=None, freeze=0.0)


def held_steps(recipe: Method, steps: int) -> int:
    """In how many of so many steps the encoder is held; they are the first ones."""
    return int(recipe.freeze * steps)


def param_groups(objective: Objective, recipe: Method) -> list[dict[str, Any]]:
    """The weights in groups of one learning rate and one weight decay; those of the encoder are marked."""
    encoder, decay = objective.trained(), recipe.weight_decay
    spared: set[str] = getattr(encoder, "no_weight_decay", set)()  # positions and class tokens, as timm does
    if recipe.layer_decay is None:
        inside = param_groups_weight_decay(encoder, decay, no_weight_decay_list=spared)
    else:
        inside = param_groups_layer_decay(
            encoder, decay, no_weight_decay_list=spared, layer_decay=recipe.layer_decay
        )
        for group in inside:  # of an encoder without its head, which would be a layer of its own
            group["lr_scale"] *= recipe.layer_decay
    within = {id(weight) for group in inside for weight in group["params"]}
    heads = [
        {**group, "params": [weight for weight in group["params"] if id(weight) not in within]}
        for group in param_groups_weight_decay(objective, decay)
    ]
    return [*({**group, ENCODER: True} for group in inside), *(group for group in heads if group["params"])]


class Schedule:
    """Warm-up and a cosine over the steps of a pace, and the steps in which the encoder is held.

    It has no state: a resumed run asks for the step that it has reached.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, objective: Objective, recipe: Method, pace: int | Pace
    ) -> None:
        self.pace = as_pace(pace)
        steps = self.pace.total
        self.warmup, self.held = int(recipe.warmup * steps), held_steps(recipe, steps)
        self.objective, self.optimizer = objective, optimizer
        self.trainable = [weight for weight in objective.trained().parameters() if weight.requires_grad]
        self.cosine = CosineLRScheduler(
            optimizer, t_initial=steps, warmup_t=self.warmup, warmup_prefix=False, t_in_epochs=False
        )

    def step_update(self, step: int) -> None:
        """Set the learning rates of a step."""
        step = self.pace.position(step)
        self.cosine.step_update(step)
        if self.held and step < self.held + self.warmup:
            share = max(0, step - self.held) / max(1, self.warmup)
            for group in self.optimizer.param_groups:
                if group.get(ENCODER):
                    group["lr"] *= share

    def hold(self, step: int) -> None:
        """Hold or release the encoder of a module in train mode, as the step requires."""
        if self.held:
            hold(self.objective, self.trainable, self.pace.position(step) < self.held)


def hold(objective: Objective, trainable: list[nn.Parameter], held: bool) -> None:
    """Hold the encoder: no gradient for these weights of it, and eval mode for it and the exported one."""
    for weight in trainable:
        weight.requires_grad_(not held)
    for module in (objective.trained(), objective.exported()):
        module.train(not held)
