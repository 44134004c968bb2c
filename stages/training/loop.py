"""The one training loop: reference, pretraining and finetuning are the same steps with another method, policy and data.

A step takes its candidates from the order, its randomness from generators named after the step, and its learning rate from its
number. So position is the only state beside weights and optimiser, and a run that was killed goes on with the same examples.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from models.methods import Objective
from stages.params import Method
from stages.training import unfinite
from stages.training.build import optimisation
from stages.training.checkpoint import Checkpoint
from stages.training.device import reseed
from stages.training.examples import Examples
from stages.training.selection import Picked, Selector

COLUMNS = ("step", "index", "learner_loss", "reference_loss", "score", "rank", "train_loss")


@dataclass
class State:
    """Where a run is: steps done, the trace so far (column -> one tensor a step) and what its watcher wants kept.

    `trace` holds what was trained on, `passed` a sample of the candidates that were not.
    """

    step: int = 0
    trace: dict[str, list[Tensor]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    passed: dict[str, list[Tensor]] = field(default_factory=lambda: {name: [] for name in COLUMNS})
    watched: dict[str, Any] = field(default_factory=dict)

    def column(self, name: str, passed: bool = False) -> Tensor:
        """One column, (n,), in the order of the steps."""
        parts = (self.passed if passed else self.trace)[name]
        return torch.cat(parts) if parts else torch.zeros(0)


class Loop:
    """Trains `objective` in place. `watch(state)` is called after every step; `bar` wraps the steps in a progress bar."""

    def __init__(
        self, fabric: Fabric, objective: Objective, data: Examples, recipe: Method, selector: Selector, steps: int, seed: int
    ) -> None:
        self.fabric, self.objective, self.data, self.recipe = fabric, objective, data, recipe
        self.selector, self.steps, self.seed = selector, steps, seed
        optimizer, self.schedule = optimisation(objective, recipe, steps)
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
            images = ahead[1].result()
            indices = self.data.pixels.seen(ahead[0])
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
        indices = self.selector.indices(step)
        return indices, self.data.pixels.ahead(indices)

    def _train(self, picked: Picked, step: int) -> Tensor:
        batches = self.selector.batches(picked, step, self.fabric.device)
        self.module.train()
        reseed(self.seed, "train", step)
        losses = self.module(*batches).example
        self._refuse_unfinite(losses, picked, step)
        self.schedule.step_update(step)
        self.optimizer.zero_grad()
        self.fabric.backward(losses.mean())
        self.optimizer.step()
        self.objective.after_step((step + 1) / self.steps)
        self.selector.learn(batches, step, self.fabric.device)
        return losses.detach().float().cpu()

    def _record(self, picked: Picked, losses: Tensor, step: int) -> None:
        _append(self.state.trace, picked, losses, step)
        if picked.passed is not None:
            _append(self.state.passed, picked.passed, torch.full((len(picked.passed.indices),), torch.nan), step)
        self.state.step = step + 1

    def _refuse_unfinite(self, losses: Tensor, picked: Picked, step: int) -> None:
        losses = losses.detach().float().cpu()
        uids, what = [self.data.uids[i] for i in picked.indices], f"step {step}: the losses of {{count}} examples are"
        unfinite.refuse(losses, uids, {"train_loss": losses}, what, "lower methods.*.lr")

    def saved(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "step": self.state.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "selector": self.selector.state(),
            "trace": {name: self.state.column(name) for name in COLUMNS},
            "passed": {name: self.state.column(name, passed=True) for name in COLUMNS},
            "watched": self.state.watched,
            "pixels": self.data.pixels.state(),
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.objective.load_state_dict(saved["objective"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.selector.restore(saved["selector"])
        self.data.pixels.restore(saved["pixels"])
        trace, passed = ({name: [column] for name, column in saved[kind].items()} for kind in ("trace", "passed"))
        self.state = State(saved["step"], trace, passed, saved["watched"])
        print(f"resuming after step {self.state.step} of {self.steps}", flush=True)


def _append(trace: dict[str, list[Tensor]], picked: Picked, losses: Tensor, step: int) -> None:
    steps = torch.full((len(picked.indices),), step, dtype=torch.int32)
    row = (steps, torch.from_numpy(picked.indices), picked.learner_loss, picked.reference_loss, picked.score, picked.rank, losses)
    for name, value in zip(COLUMNS, row, strict=True):
        trace[name].append(value)
