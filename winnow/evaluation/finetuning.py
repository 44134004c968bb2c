"""Finetuning a whole encoder on few labels, with a new linear classifier on its features or on layers of its
projection head.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from models.flops import count
from models.heads import Projected
from models.methods import Objective
from models.methods.supervised import Config as SupervisedConfig
from models.methods.supervised import Method as Supervised
from winnow.config.schema import Method, Run, View
from winnow.evaluation.features import outputs
from winnow.evaluation.task_flops import finetuning_flops
from winnow.loading.examples import Examples
from winnow.selection.cost import step_flops
from winnow.selection.policy import UNIFORM
from winnow.selection.selector import Selector
from winnow.training.device import launch
from winnow.training.loop import Loop

Bar = Callable[[Iterable[int]], Iterator[int]]


@dataclass(frozen=True)
class Recipe:
    """How a network is finetuned: `steps` of an optimiser of timm's, on random crops and flips."""

    steps: int
    batch_size: int
    optimiser: str = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    warmup: float = 0.1

    def method(self, labels: int) -> Method:
        """The same as the training loop takes it, for so many labelled images."""
        return Method(
            batch_size=min(self.batch_size, labels),
            optimiser=self.optimiser,
            lr=self.lr,
            weight_decay=self.weight_decay,
            warmup=self.warmup,
            views={"image": View(scale=[0.6, 1.0], flip=0.5)},
            score_views={"image": View()},
        )

    def text(self) -> str:
        """In words, without steps and views."""
        warmup = f" after a warm-up of {self.warmup:.0%} of the steps" if self.warmup else ""
        named = f"{self.optimiser}, lr {self.lr:g}, cosine{warmup}"
        return f"{named}, weight decay {self.weight_decay:g}, batch {self.batch_size}"


def network(encoder: nn.Module, head: nn.Sequential | None, classes: int, seed: int) -> Supervised:
    """The encoder, with the head where one is given, and a new classifier on top."""
    torch.manual_seed(seed)
    return Supervised(encoder if head is None else Projected(encoder, head), SupervisedConfig(), classes)


def network_flops(objective: Objective, recipe: Recipe, labelled: Examples, labels: int, test: int) -> int:
    """FLOPs of finetuning on so many labels, and of so many test images."""
    size = labelled.pixels.size
    step = step_flops(objective, recipe.method(labels), UNIFORM, labelled).train
    return finetuning_flops(recipe.steps, step, test, count(objective.encoder, (3, size, size)).forward)


def finetune(
    run: Run, recipe: Recipe, objective: Supervised, labelled: Examples, test: Examples, seed: int, bar: Bar
) -> Tensor:
    """Train the whole network on the labelled examples; the logits (n, classes) of test after that."""
    fabric, method = launch(run), recipe.method(len(labelled))
    selector = Selector(UNIFORM, method, labelled, None, seed)
    Loop(fabric, objective, labelled, method, selector, recipe.steps, seed).run(bar=bar)
    return outputs(objective, objective.classify, test, fabric)
