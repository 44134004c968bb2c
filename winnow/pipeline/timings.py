"""How far an execution of the pipeline is, and how long the rest takes, by what was measured on this machine.

A stage's time is known where a comparable stage has run here: the same data, model and settings. Where params
say beforehand how much there is to do (FLOPs, steps, examples), the measured seconds are scaled by it. What
was never measured is called unknown.
"""

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from winnow.config.schema import Params
from winnow.pipeline.execution import execution, process_seconds
from winnow.pipeline.files import replacing
from winnow.pipeline.progress import clock
from winnow.pipeline.stages import Entry, Stages, select
from winnow.pipeline.workspace import Workspace

Amount = Callable[[dict[str, Any]], float]
Measured = dict[str, Any]  # alike, amount, seconds

# How much a stage has to do by its params, and the keys that say so, which do not make stages less alike.
AMOUNTS: dict[str, tuple[Amount, tuple[str, ...]]] = {
    "pretrain": (lambda params: _first(params["pretrain"]["budget"]), ("pretrain", "arms", "policies")),
    "reference": (lambda params: params["reference"]["examples"], ("reference.examples",)),
    "semi_supervised": (
        lambda params: sum(params["tasks"]["semi_supervised"]["steps"]),
        ("tasks.semi_supervised.steps",),
    ),
    "detection": (
        lambda params: params["tasks"]["detection"]["steps"],
        ("tasks.detection.steps", "tasks.detection.train_scenes", "tasks.detection.test_scenes"),
    ),
    "segmentation": (
        lambda params: params["tasks"]["segmentation"]["finetune"]["steps"],
        ("tasks.segmentation.finetune.steps",),
    ),
    "compare": (lambda params: len(params["arms"]), ("arms", "policies", "methods", "pretrain", "tasks")),
}
SAMPLED = ("limit", "trusted", "corruption")  # of a data set: without effect on the time of one training step
MEMORY = 40  # measurements of a kind of stage that are kept


class Timings:
    """The stages that an execution has done and has to do, in .winnow/executions; what all of them took, in
    .winnow/seconds.json.
    """

    def __init__(self, workspace: Workspace, params: Params) -> None:
        self.workspace, self._params = workspace, asdict(params)
        self._stages = Stages.read(workspace.root)
        self._seconds = workspace.hidden / "seconds.json"
        self._state = workspace.hidden / "executions" / f"{execution()}.json"

    def announce(self, address: str) -> None:
        """Print `[k/n] STAGE` with the time left, as far as earlier runs on this machine tell."""
        state = _read(self._state, {"planned": [], "done": []})
        state["planned"] = sorted({*state["planned"], *self._stages.downstream(address)})
        _write(self._state, state)
        left = [name for name in state["planned"] if name not in state["done"]]
        k, n = len(state["planned"]) - len(left) + 1, len(state["planned"])
        times = [self.expected(name) for name in left]
        print(
            f"[{k}/{n}] {address}: {_left([time for time in times if time is not None], len(times))}",
            flush=True,
        )

    def done(self, address: str, seconds: float, whole: bool = True) -> None:
        """Remember that the stage is done, and how long it took here, from the start of its process.

        Args:
            seconds: to print.
            whole: whether this process did all of it, so that its time says something about the next.
        """
        state = _read(self._state, {"planned": [address], "done": []})
        state["done"] = sorted({*state["done"], address})
        _write(self._state, state)
        print(f"      {address}: done in {clock(seconds)}", flush=True)
        if not whole:
            return
        entry, known = self._stages[address], self._known()
        one = {
            "alike": self._alike(entry),
            "amount": self._amount(entry),
            "seconds": round(process_seconds(), 1),
        }
        known[entry.name] = [*known.get(entry.name, []), one][-MEMORY:]
        _write(self._seconds, known)

    def expected(self, address: str) -> float | None:
        """Seconds that a stage is expected to take; None where nothing comparable was measured here."""
        entry = self._stages.entries.get(address)
        if entry is None:  # planned by an earlier run under other params
            return None
        alike = self._alike(entry)
        measured = [one for one in self._known().get(entry.name, []) if one.get("alike") == alike]
        return scaled([(one["amount"], one["seconds"]) for one in measured], self._amount(entry))

    def _known(self) -> dict[str, list[Measured]]:
        known = _read(self._seconds, {})
        return {kind: value for kind, value in known.items() if isinstance(value, list)}

    def _amount(self, entry: Entry) -> float:
        return float(AMOUNTS[entry.name][0](self._params)) if entry.name in AMOUNTS else 1.0

    def _alike(self, entry: Entry) -> str:
        """What must be equal for two times to be comparable, as JSON: the machine, the data, the settings."""
        ignored = ("seed", *(AMOUNTS[entry.name][1] if entry.name in AMOUNTS else ()))
        keys = {*entry.params, *(key for one in self._stages.of("ingest") for key in one.params)}
        units = self._params["pretrain"]["budget"]
        found = _leaves({key: select(self._params, key) for key in sorted(keys)})
        if entry.arm:
            arm = self._params["arms"][entry.arm]
            found |= _leaves({"learner": self._params["backbones"][arm["backbone"]], "method": arm["method"]})
        if entry.name == "pretrain" and isinstance(units, dict):  # amounts of other units are no measure
            found |= {"budget": sorted(units)}
        sampled = SAMPLED if entry.name in AMOUNTS and entry.name != "compare" else ()
        kept = {
            key: value
            for key, value in found.items()
            if not any(key == one or key.startswith(f"{one}.") for one in ignored)
            and not (key.startswith("dataset") and set(key.split(".")) & set(sampled))
        }
        return json.dumps({"machine": platform.node(), **kept}, sort_keys=True)


def scaled(measured: list[tuple[float, float]], amount: float) -> float | None:
    """Seconds for an amount of work, from (amount, seconds) that were measured, newest last.

    From two amounts the part that every run pays is told apart from the part that grows with the work.
    """
    if not measured:
        return None
    latest = dict(measured)
    (least, low), (most, high) = min(latest.items()), max(latest.items())
    if most > 1.5 * least:
        rate = (high - low) / (most - least)
        fixed = low - rate * least
        if rate > 0 and fixed >= 0:
            return fixed + rate * amount
    near = min(latest, key=lambda one: abs(one - amount))
    same = [seconds for one, seconds in measured if one == near][-3:]
    return sum(same) / len(same) * (amount / near if near else 1.0)


def _first(budget: float | dict[str, float]) -> float:
    """A budget as one number: of several units that of the first."""
    return next(iter(budget.values())) if isinstance(budget, dict) else budget


def _left(known: list[float], stages: int) -> str:
    if not known:
        return "time left unknown, for nothing comparable has run on this machine yet"
    time = f"about {clock(sum(known))} left"
    unknown = stages - len(known)
    return f"{time} in all" if not unknown else f"{time} for {len(known)} stages, unknown for {unknown}"


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, Mapping) or not value:
        return {prefix: value}
    return {
        key: leaf
        for name, item in value.items()
        for key, leaf in _leaves(item, f"{prefix}.{name}" if prefix else str(name)).items()
    }


def _read(path: Path, default: Any) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return default


def _write(path: Path, value: Any) -> None:
    with replacing(path) as partial:
        partial.write_text(json.dumps(value, sort_keys=True), encoding="utf-8")
