"""The one training loop: reference, pretraining and finetuning are the same steps with another method, policy and data.

A step takes its candidates from the order, its randomness from generators named after the step, and its learning rate from its
number. So position is the only state beside weights and optimiser, and a run that was killed goes on with the same examples.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from timm.optim import create_optimizer_v2
from timm.scheduler.cosine_lr import CosineLRScheduler
from torch import Tensor

from models.methods import Objective
from stages.data import order
from stages.params import Method
from stages.training.checkpoint import Checkpoint
from stages.training.device import generator
from stages.training.examples import Examples
from stages.training.selection import Picked, Selector

FUSED: dict[str, dict[str, Any]] = {
    name: {"fused": True} for name in ("adam", "adamw", "sgd")
}  # one kernel for all weights: a tenth of a step here
COLUMNS = ("step", "index", "learner_loss", "reference_loss", "score", "train_loss")


@dataclass
class State:
    """Where a run is: steps done, the trace so far (column -> one tensor a step) and what its watcher wants kept."""

    step: int = 0
    trace: dict[str, list[Tensor]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    watched: dict[str, Any] = field(default_factory=dict)

    def column(self, name: str) -> Tensor:
        return torch.cat(self.trace[name]) if self.trace[name] else torch.zeros(0)


class Loop:
    """Trains `objective` in place. `watch(state)` is called after every step; `bar` wraps the steps in a progress bar."""

    def __init__(
        self, fabric: Fabric, objective: Objective, data: Examples, recipe: Method, selector: Selector, steps: int, seed: int
    ) -> None:
        self.fabric, self.objective, self.data, self.recipe = fabric, objective, data, recipe
        self.selector, self.steps, self.seed = selector, steps, seed
        optimizer = create_optimizer_v2(
            objective, opt=recipe.optimiser, lr=recipe.lr, weight_decay=recipe.weight_decay, **FUSED.get(recipe.optimiser, {})
        )
        self.schedule = CosineLRScheduler(
            optimizer, t_initial=steps, warmup_t=int(recipe.warmup * steps), warmup_prefix=False, t_in_epochs=False
        )
        self.module, self.optimizer = fabric.setup(objective, optimizer)
        self.state = State()

    def run(
        self,
        watch: Callable[[State], None] = lambda state: None,
        bar: Callable[[Iterable[int]], Iterator[int]] = iter,
        checkpoint: Checkpoint | None = None,
    ) -> State:
        """All remaining steps; resumes from `checkpoint` where it holds a state."""
        if checkpoint and (saved := checkpoint.load()):
            self._restore(saved)
        ahead = self._fetch(self.state.step)
        for step in bar(range(self.state.step, self.steps)):
            indices, images = ahead[0], ahead[1].result()
            if step + 1 < self.steps:
                ahead = self._fetch(step + 1)
            picked = self.selector.pick(self.module, indices, images, step, self.fabric.device)
            self._record(picked, self._train(picked, step), step)
            watch(self.state)
            if checkpoint and checkpoint.due():
                checkpoint.save(self.saved())
        return self.state

    def _fetch(self, step: int) -> Any:
        if step >= self.steps:
            return None
        indices = order.candidates(step, self.selector.candidates, len(self.data), self.seed)
        return indices, self.data.pixels.ahead(indices)

    def _train(self, picked: Picked, step: int) -> Tensor:
        views = generator(self.seed, "views", step)
        batch = self.data.batch(picked.indices, picked.images, self.recipe.views, views, self.fabric.device)
        self.module.train()
        losses = self.module(batch).example
        self._refuse_unfinite(losses, picked, step)
        self.schedule.step_update(step)
        self.optimizer.zero_grad()
        self.fabric.backward(losses.mean())
        self.optimizer.step()
        self.objective.after_step((step + 1) / self.steps)
        return losses.detach().float().cpu()

    def _record(self, picked: Picked, losses: Tensor, step: int) -> None:
        steps = torch.full((len(picked.indices),), step, dtype=torch.int32)
        row = (steps, torch.from_numpy(picked.indices), picked.learner_loss, picked.reference_loss, picked.score, losses)
        for name, value in zip(COLUMNS, row, strict=True):
            self.state.trace[name].append(value)
        self.state.step = step + 1

    def _refuse_unfinite(self, losses: Tensor, picked: Picked, step: int) -> None:
        if not torch.isfinite(losses).all():
            bad = (~torch.isfinite(losses)).nonzero().flatten().cpu().numpy()
            uids = ", ".join(self.data.uids[i] for i in picked.indices[bad][:4])
            raise ValueError(f"step {step}: the loss of {len(bad)} examples is not finite, uids {uids}; lower methods.*.lr")

    def saved(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.state.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "trace": {name: self.state.column(name) for name in COLUMNS},
            "watched": self.state.watched,
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.objective.load_state_dict(saved["objective"])
        self.optimizer.load_state_dict(saved["optimizer"])
        trace = {name: [column] for name, column in saved["trace"].items()}
        self.state = State(saved["step"], trace, saved["watched"])
        print(f"resuming after step {self.state.step} of {self.steps}", flush=True)
