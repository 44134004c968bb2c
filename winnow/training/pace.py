"""How long a run is, and how far it is: what its learning rate follows, and what ends it.

By default a budget is FLOPs, which give a number of steps before the first one: `FixedSteps`. A budget of
seconds, kWh or gCO2e gives none, because a step takes what it takes: `UntilSpent` asks a meter after each
step, and schedules follow the share of the budget that is spent, so that the learning rate ends its cosine
when the budget ends. Such a run gives other bytes each time.

What was paid before the first step (the shares of reference, version and weights) is counted in FLOPs, and no
training stage may read what it took in time or energy. So it is converted at the arm's own rate: a FLOP that
was charged costs what a FLOP of the arm's own steps costs on average.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

POSITIONS = 10_000  # of a schedule that follows a share
WARM = 10  # steps after which the arm's own rate is trusted; the first, which is slow, is never in it

Reading = Callable[[], Mapping[str, float]]  # unit -> spent so far by this stage, earlier attempts included


class Pace(Protocol):
    """`total` is the length of a schedule."""

    total: int

    def position(self, step: int) -> int:
        """Of a step, from 0 to less than `total`."""
        ...

    def share(self, steps: int) -> float:
        """How far the run is after so many steps, of 1."""
        ...

    def steps(self, done: int) -> "range | Iterator[int]":
        """The steps that are left after so many."""
        ...

    def follows(self, step: int) -> bool:
        """Whether there may be another step after this one."""
        ...

    def did(self, steps: int) -> None:
        """Called after each step, with how many are done."""
        ...

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        ...


class FixedSteps:
    """So many steps, known before the first one."""

    def __init__(self, total: int) -> None:
        self.total = total

    def position(self, step: int) -> int:
        return step

    def share(self, steps: int) -> float:
        return steps / self.total

    def steps(self, done: int) -> range:
        return range(done, self.total)

    def follows(self, step: int) -> bool:
        return step + 1 < self.total

    def did(self, steps: int) -> None:
        """Nothing: the position is the number of the step."""

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing: a resumed run asks for the step that it has reached."""


class UntilSpent:
    """Until the first of several budgets is spent, or so many steps are done.

    Args:
        budgets: unit -> what may be spent, in seconds, kwh or gco2e.
        spent: reads what was spent, in the same units.
        upfront: what was charged before the first step, in steps of this arm.
        most: the steps at which something else ends: a budget of FLOPs, or a trace that is replayed; by the
            reason. None for nothing.
        held: how many positions the encoder is held in, from the first; `held_steps` are the steps of these.
    """

    total = POSITIONS

    def __init__(
        self,
        budgets: Mapping[str, float],
        spent: Reading,
        upfront: float = 0.0,
        most: tuple[int, str] | None = None,
        held: int = 0,
    ) -> None:
        self.budgets, self.spent, self.upfront, self.most = dict(budgets), spent, upfront, most
        self.reached, self.resumed_at, self.held_steps = 0.0, 0.0, 0
        self.held, self.stopped_by = held, "budget"
        self._begin: dict[str, float] = {}  # what was spent when this process began its steps
        self._warm: dict[str, float] = {}  # and after its first one
        self._count = 0

    def position(self, step: int) -> int:
        return min(int(self.reached * self.total), self.total - 1)

    def share(self, steps: int) -> float:
        return self.reached

    def steps(self, done: int) -> Iterator[int]:
        self._begin = dict(self.spent())
        while self.reached < 1.0:
            self.held_steps += self.position(done) < self.held
            yield done
            done += 1

    def follows(self, step: int) -> bool:
        return self.most is None or step + 1 < self.most[0]

    def did(self, steps: int) -> None:
        """Take a reading, and go on as far as the unit that is nearest to its end.

        Raises:
            ValueError: if what was charged leaves nothing to train with.
        """
        now = dict(self.spent())
        self._count += 1
        if self._count == 1:
            self._warm = now
        left = 1.0 - self.resumed_at
        shares = {unit: self.resumed_at + left * self._of(unit, now[unit]) for unit in self.budgets}
        reasons = {f"budget: {unit}": share for unit, share in shares.items()}
        if self.most:
            reasons[self.most[1]] = steps / self.most[0]
        nearest = max(reasons, key=lambda reason: reasons[reason])
        self.reached = max(self.reached, min(1.0, reasons[nearest]))
        if self.reached >= 1.0:
            self.stopped_by = nearest

    def _of(self, unit: str, now: float) -> float:
        """The share of what there is to train with that this process has spent."""
        had = self.budgets[unit] - self._begin[unit]
        trained = now - self._begin[unit]
        if self._count > WARM:
            charged = self.upfront * (now - self._warm[unit]) / (self._count - 1)
            if self._count == WARM + 1 and not self.resumed_at and charged >= had:
                raise ValueError(
                    f"pretrain.budget.{unit}: {self.budgets[unit]:.4g}; {self._begin[unit]:.4g} were spent "
                    f"before the first step, and the shares of version, reference and weights are about "
                    f"{charged:.4g} at this arm's rate; give more"
                )
            had -= charged
        return trained / had if had > 0 else 1.0

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"reached": self.reached, "held_steps": self.held_steps}

    def restore(self, state: dict[str, Any]) -> None:
        """From a checkpoint; what is left of the budget is what the attempts before have not spent."""
        self.reached = self.resumed_at = state["reached"]
        self.held_steps = state["held_steps"]


def as_pace(length: "int | Pace") -> Pace:
    """A number of steps as a pace."""
    return FixedSteps(length) if isinstance(length, int) else length
