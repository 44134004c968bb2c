"""The one training loop, for reference, pretraining and finetuning.

A step takes its candidates from the sampler, its randomness from generators seeded by the step, and its
learning rate from its number (or from the share that is spent of a budget of time or energy:
winnow/training/pace.py). So the position is the only state beside weights and optimiser, and an
interrupted run resumes with the same examples.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor

from models.encoders import normalisation
from models.methods import Objective
from winnow.config.schema import Method
from winnow.loading.examples import Examples
from winnow.training.build import optimisation
from winnow.training.checkpoint import Checkpoint
from winnow.training.device import arrange, reseed
from winnow.training.nonfinite import refuse_nonfinite
from winnow.training.pace import FixedSteps, Pace, as_pace
from winnow.training.picked import ExampleSelector, Picked

COLUMNS = ("step", "index", "learner_loss", "reference_loss", "score", "rank", "train_loss")
Bar = Callable[[Iterable[int]], Iterator[int]]


def _columns() -> dict[str, list[Tensor]]:
    return {name: [] for name in COLUMNS}


@dataclass
class State:
    """Where a run is: steps done, and the trace so far, as column -> one tensor per step.

    `trace` holds what was trained on, `rejected` a sample of the candidates that were not, and `watched` what
    the run's watcher adds.
    """

    step: int = 0
    trace: dict[str, list[Tensor]] = field(default_factory=_columns)
    rejected: dict[str, list[Tensor]] = field(default_factory=_columns)
    watched: dict[str, Any] = field(default_factory=dict)

    def column(self, name: str, rejected: bool = False) -> Tensor:
        """One column, (n,), in the order of the steps."""
        parts = (self.rejected if rejected else self.trace)[name]
        return torch.cat(parts) if parts else torch.zeros(0)


class Loop:
    """Trains `objective` in place for so many steps, or until its pace ends it."""

    def __init__(
        self,
        fabric: Fabric,
        objective: Objective,
        data: Examples,
        recipe: Method,
        selector: ExampleSelector,
        steps: int | Pace,
        seed: int,
    ) -> None:
        self.fabric, self.objective, self.data, self.recipe = fabric, objective, data, recipe
        self.selector, self.pace, self.seed = selector, as_pace(steps), seed
        if (needed := normalisation(objective)) != data.normalisation:
            raise ValueError(f"views normalised by {data.normalisation}, and the encoder needs {needed}")
        arrange(objective, data.pixels.size)
        optimizer, self.schedule = optimisation(objective, recipe, self.pace)
        self.module, self.optimizer = fabric.setup(objective, optimizer)
        self.state = State()
        self.resumed = False  # whether an earlier run did some of the steps

    def run(
        self,
        watch: Callable[[State], None] = lambda state: None,
        bar: Bar = iter,
        checkpoint: Checkpoint | None = None,
    ) -> State:
        """Do all remaining steps, resuming from `checkpoint` where it holds a state.

        Args:
            watch: called after every step.
            bar: wraps the steps in a progress bar.

        Raises:
            TableError: when a loss is not finite.
        """
        if checkpoint and (saved := checkpoint.load()):
            self._restore(saved)
            self.resumed = True
        fetched = self._fetch(self.state.step)
        for step in bar(self.pace.steps(self.state.step)):
            images = fetched[1].result()
            indices = self.data.pixels.substituted_indices(fetched[0])
            if self.pace.follows(step):
                fetched = self._fetch(step + 1)
            picked = self.selector.pick(self.module, indices, images, step, self.fabric.device)
            self._record(picked, self._train(picked, step), step)
            self.pace.did(step + 1)
            watch(self.state)
            if checkpoint and checkpoint.due():
                checkpoint.save(self.saved())
        return self.state

    def _fetch(self, step: int) -> Any:
        if not self.pace.follows(step - 1):
            return None
        indices = self.selector.indices(step)
        return indices, self.data.pixels.get_async(indices)

    def _train(self, picked: Picked, step: int) -> Tensor:
        batches = self.selector.batches(picked, step, self.fabric.device)
        self.module.train()
        self.schedule.hold(step)
        reseed(self.seed, "train", step)
        losses = self.module(*batches).example
        self._refuse_nonfinite(losses, picked, step)
        self.schedule.step_update(step)
        self.optimizer.zero_grad()
        self.fabric.backward(losses.mean())
        self.optimizer.step()
        self.objective.after_step(self.pace.share(step + 1))
        self.selector.train_step(batches, step, self.fabric.device)
        return losses.detach().float().cpu()

    def _record(self, picked: Picked, losses: Tensor, step: int) -> None:
        _append(self.state.trace, picked, losses, step)
        if picked.rejected is not None:
            unknown = torch.full((len(picked.rejected.indices),), torch.nan)
            _append(self.state.rejected, picked.rejected, unknown, step)
        self.state.step = step + 1

    def _refuse_nonfinite(self, losses: Tensor, picked: Picked, step: int) -> None:
        losses = losses.detach().float().cpu()
        uids = [self.data.uids[i] for i in picked.indices]
        what = f"step {step}: the losses of {{count}} examples are"
        refuse_nonfinite(losses, uids, {"train_loss": losses}, what, "lower methods.*.lr")

    def saved(self) -> dict[str, Any]:
        """The state for a checkpoint."""
        return {
            "step": self.state.step,
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "selector": self.selector.state(),
            "trace": {name: self.state.column(name) for name in COLUMNS},
            "rejected": {name: self.state.column(name, rejected=True) for name in COLUMNS},
            "watched": self.state.watched,
            "pixels": self.data.pixels.state(),
            "pace": self.pace.state(),
        }

    def _restore(self, saved: dict[str, Any]) -> None:
        self.objective.load_state_dict(saved["objective"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.selector.restore(saved["selector"])
        self.data.pixels.restore(saved["pixels"])
        self.pace.restore(saved["pace"])
        both = (saved["trace"], saved["rejected"])
        trace, rejected = ({name: [column] for name, column in columns.items()} for columns in both)
        self.state = State(saved["step"], trace, rejected, saved["watched"])
        of = f" of {self.pace.total}" if isinstance(self.pace, FixedSteps) else ""
        print(f"resuming after step {self.state.step}{of}", flush=True)


def _append(trace: dict[str, list[Tensor]], picked: Picked, losses: Tensor, step: int) -> None:
    steps = torch.full((len(picked.indices),), step, dtype=torch.int32)
    indices = torch.from_numpy(picked.indices)
    reasons = (picked.learner_loss, picked.reference_loss, picked.score, picked.rank)
    for name, value in zip(COLUMNS, (steps, indices, *reasons, losses), strict=True):
        trace[name].append(value)
