"""The scorers of candidates: the learner itself, or a proxy that is trained beside it.

Scoring does not change the learner: it runs in eval mode without gradient, on generators of its own.
"""

from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.methods import Batch, Losses, Objective
from winnow.config.schema import Method
from winnow.training.build import optimisation
from winnow.training.device import reseed
from winnow.training.pace import Pace, as_pace


class Learner:
    """The learner itself scores (RHO-LOSS, arXiv 2206.07137; JEST, arXiv 2406.17711)."""

    def losses(self, learner: nn.Module, batch: Batch) -> Losses:
        """Losses of the candidates, as float32 on the CPU."""
        return scored(learner, batch)

    def train_step(self, batch: list[Batch], step: int) -> None:
        """Called after the learner's step, which trained this scorer already."""

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""


class Proxy(Learner):
    """A small model of the same method, trained on the same sub-batches.

    ClassAct and ActiveCLIP of Bad Students, arXiv 2312.05328.
    """

    def __init__(self, fabric: Fabric, objective: Objective, recipe: Method, steps: int | Pace) -> None:
        self.fabric, self.pace = fabric, as_pace(steps)
        self.objective = objective
        optimizer, self.schedule = optimisation(objective, recipe, self.pace)
        self.module, self.optimizer = fabric.setup(objective, optimizer)

    def losses(self, learner: nn.Module, batch: Batch) -> Losses:
        """The proxy's losses; the learner is not used."""
        return scored(self.module, batch)

    def train_step(self, batch: list[Batch], step: int) -> None:
        """One step on the views that the learner was trained on."""
        self.module.train()
        reseed("proxy", step)
        loss = self.module(*batch).example.mean()
        self.schedule.step_update(step)
        self.optimizer.zero_grad()
        self.fabric.backward(loss)
        self.optimizer.step()
        self.objective.after_step(self.pace.share(step + 1))

    def state(self) -> dict[str, Any]:
        return {"objective": self.objective.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])


@torch.no_grad()
def scored(objective: nn.Module, batch: Batch) -> Losses:
    """Losses in eval mode, as float32 on the CPU, but pairs, which are large, on their device.

    The module's mode is restored.
    """
    training = objective.training
    objective.eval()
    losses: Losses = objective(batch)
    objective.train(training)
    pair = None if losses.pair is None else losses.pair.float()
    norm = None if losses.gradient_norm is None else losses.gradient_norm.float().cpu()
    return Losses(per_example_loss(objective, losses).float().cpu(), pair, norm)


def per_example_loss(objective: nn.Module, losses: Losses) -> Tensor:
    """The loss (B,) that an example is scored by when it is scored independently of the others.

    Where losses of pairs add up it is that of the example's own pair, because the other pairs depend on what
    else is in the super-batch (the diagonal in ActiveCLIP and in JEST's independent scores).
    """
    if losses.pair is not None and objective.PAIR == "sigmoid":
        return losses.pair.diagonal()
    return losses.example
