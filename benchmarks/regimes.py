"""When does selection pay? Policies against their best control, over how many images are trusted, how many of
the pool's labels or captions are wrong, and how long is trained.

    python -m benchmarks.regimes labels cifar10=FILE.parquet [part=0/2]
    python -m benchmarks.regimes labels-seeds cifar10=FILE.parquet [part=0/2]
    python -m benchmarks.regimes captions [part=0/2]
    python -m benchmarks.regimes table

Labels: CIFAR-10 as a parquet file with the columns `image` (encoded bytes), `label` and `split`. 12,000
training images, drawn by the seed, may be trusted, of which a cell takes the first so many; the other 38,000
are the pool, and a share of their labels is replaced by another class, drawn evenly. Captions: drawings of
emoji, 2,000 of which may be trusted; a share of the others' captions changes places. Every run is a
whole one, with its own warm-up and cosine. An arm pays for its reference: its training, and its losses on the
whole pool.

Results are lines of regimes.jsonl. A run that is in it is not repeated, so that the command can be
stopped and started again, and two of them, with part=0/2 and part=1/2, can share the work on two cores:
each run takes one thread. `table` writes regimes.md and docs/img/regimes.png from what is there
(benchmarks/regimes_table.py).
"""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import regimes_worlds
from benchmarks.regimes_table import write_table
from benchmarks.regimes_worlds import World
from winnow.config.schema import Arm, Policy
from winnow.loading.sampler import counts_of
from winnow.selection.cost import step_flops
from winnow.selection.mixture import Mixture, candidate_counts, scored_candidates, selected_part
from winnow.selection.policy import UNIFORM
from winnow.selection.reference import Reference
from winnow.selection.selector import Selector
from winnow.selection.train_reference import judge, train_reference
from winnow.training.build import build
from winnow.training.loop import Loop

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "regimes.jsonl"


@dataclass(frozen=True)
class Judges:
    """How the reference of an arm is trained: so many examples, this share of them from the pool."""

    examples: int = 20_000
    pool_share: float = 0.0


@dataclass(frozen=True)
class Entry:
    """An arm of the benchmark: its policy, its part of the data as in params.yaml, and what judges for it."""

    policy: Policy = field(default_factory=lambda: UNIFORM)
    version: str = "pool"
    mixture: tuple[float, ...] | None = None
    selects_from: str | None = None
    judges: Judges | None = None

    def arm(self, world: World) -> Arm:
        """The same as an arm of params.yaml."""
        mixture = list(self.mixture) if self.mixture else None
        return Arm("p", world.method, world.learner, 0, self.version, mixture, self.selects_from)


EASY = Policy("easy", filter_ratio=0.5, scorer="frozen")
STRICT = replace(EASY, filter_ratio=0.8)
PER_CLASS = replace(EASY, filter_ratio=0.4, per_class=True)
BOTH = "pool+reference"
CONTROLS = {
    "pool": Entry(),
    "reference": Entry(version="reference"),
    "a tenth trusted": Entry(version=BOTH, mixture=(0.9, 0.1)),
    "a quarter trusted": Entry(version=BOTH, mixture=(0.75, 0.25)),
    "half trusted": Entry(version=BOTH, mixture=(0.5, 0.5)),
}
POLICIES = {
    "easy": Entry(EASY, judges=Judges()),
    "learnability": Entry(Policy("learnability", filter_ratio=0.5), judges=Judges()),
    # The tenth that is trusted is trained on whole; what chooses the rest has seen pool and trusted images.
    "easy per class": Entry(PER_CLASS, BOTH, (0.9, 0.1), "pool", Judges(100_000, 0.75)),
    "easy 0.8": Entry(STRICT, judges=Judges()),
    "easy 0.8, a quarter trusted": Entry(STRICT, BOTH, (0.75, 0.25), "pool", Judges()),
}
ARMS = CONTROLS | POLICIES


@dataclass(frozen=True)
class Sweep:
    """What a command runs: these arms, with so many steps, in cells of (trusted, share that is wrong).

    Controls on pool and trusted images are also run with the `longer` numbers of steps, to find where they
    reach what a policy reached.
    """

    arms: tuple[str, ...]
    steps: tuple[int, ...]
    cells: tuple[tuple[int, float], ...]
    seeds: tuple[int, ...]
    data: str
    longer: tuple[int, ...] = ()


TRUSTED = ("pool", "reference", "a quarter trusted", "a tenth trusted")
SWEEPS = {
    "labels": Sweep(
        (*TRUSTED, "easy", "learnability", "easy per class"),
        (150, 500, 1700),
        tuple((reference, wrong) for wrong in (0.0, 0.4, 0.6) for reference in (500, 4000)),
        (0,),
        "cifar10",
    ),
    "labels-seeds": Sweep(
        ("a quarter trusted", "a tenth trusted", "easy", "easy per class"),
        (150, 500, 1700),
        ((500, 0.4),),
        (0, 1, 2, 3, 4),
        "cifar10",
    ),
    "captions": Sweep(
        ("easy 0.8, a quarter trusted", "half trusted", "a quarter trusted", "easy 0.8", "reference"),
        (150, 450, 1350),
        ((500, 0.6),),
        (0, 1, 2),
        "emoji",
        (2700,),
    ),
}


class Runs:
    """Does the runs of one world; a reference is trained once for all arms that it judges for."""

    def __init__(self, world: World) -> None:
        self.world, self.recipe = world, world.params.methods[world.method]
        self._judged: dict[Judges, tuple[Tensor, int]] = {}

    def judged(self, judges: Judges) -> tuple[Tensor, int]:
        """The losses on every example by a small model, NaN for trusted ones, and all its FLOPs."""
        if judges not in self._judged:
            world = self.world
            settings = replace(world.params.reference, examples=judges.examples)
            params = replace(world.params, reference=settings)
            counts = counts_of(self.recipe.batch_size, [1 - judges.pool_share, judges.pool_share])
            mixture = Mixture([world.parts["reference"], world.parts["pool"]], counts)
            loop, spent = train_reference(params, world.fabric, world.method, world.union, mixture=mixture)
            judged, cost = judge(params, world.fabric, loop.objective, world.pool, world.method)
            unknown = torch.full((len(world.union) - world.count,), torch.nan)
            self._judged[judges] = torch.cat([judged.losses, unknown]), spent + cost
        return self._judged[judges]

    def run(self, entry: Entry, steps: int) -> dict[str, float]:
        """One whole run: its accuracy on the test set, its FLOPs, and the share of wrong ones it saw."""
        world, policy, arm = self.world, entry.policy, entry.arm(self.world)
        losses, before = self.judged(entry.judges) if entry.judges else (None, 0)
        counts = candidate_counts(self.recipe, policy, arm)
        members = [world.parts[name] for name in entry.version.split("+")]
        mixture = Mixture(members, counts, selected_part(arm))
        seed, union = world.params.seed, world.union
        objective = build(world.params, world.method, world.learner, union.classes, seed)
        scored = scored_candidates(self.recipe, policy, arm)
        step = step_flops(objective, self.recipe, policy, union, scored=scored)
        reference = None if losses is None else Reference(losses)
        selector = Selector(policy, self.recipe, union, reference, seed, mixture=mixture)
        state = Loop(world.fabric, objective, union, self.recipe, selector, steps, seed).run()
        seen = state.column("index").numpy()
        wrong = float(world.wrong[seen[seen < world.count]].sum()) / len(seen)
        spent = {"flops": before + steps * step.total, "reference_flops": before}
        return {"accuracy": round(world.read(objective), 4), **spent, "wrong_seen": round(wrong, 4)}


def wanted(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """The keys of all runs, those of a cell together."""
    for seed in sweep.seeds:
        for reference, wrong in sweep.cells:
            for arm in sweep.arms:
                for steps in sweep.steps + (sweep.longer if arm in CONTROLS and ARMS[arm].mixture else ()):
                    cell = {"seed": seed, "reference": reference, "wrong": wrong}
                    yield {"data": sweep.data, **cell, "arm": arm, "steps": steps}


def shared(key: dict[str, Any]) -> str:
    """What tells a run from others: the pool does not depend on the reference, nor that on the pool."""
    same = {"pool": "reference", "reference": "wrong"}.get(key["arm"])
    return json.dumps({name: value for name, value in key.items() if name != same}, sort_keys=True)


def kept() -> dict[str, dict[str, Any]]:
    """The runs that were kept."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    rows = [json.loads(line) for line in lines]
    names = ("data", "seed", "reference", "wrong", "arm", "steps")
    return {shared({name: row[name] for name in names}): row for row in rows}


def measure(sweep: Sweep, opened: Callable[..., World], number: int, of: int) -> None:
    """Do every `of`-th cell's runs that are not kept yet; each is kept when it is done."""
    torch.set_num_threads(1)
    cells: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    firsts = {shared(key): key for key in reversed(list(wanted(sweep)))}
    for key in reversed(list(firsts.values())):  # a run that several cells share belongs to the first of them
        cells.setdefault((key["seed"], key["reference"], key["wrong"]), []).append(key)
    for cell, keys in list(cells.items())[number::of]:
        todo = [key for key in keys if shared(key) not in kept()]
        runs = Runs(opened(*cell)) if todo else None
        for key in todo:
            assert runs is not None
            start = time.monotonic()
            found = runs.run(ARMS[key["arm"]], key["steps"])
            row = {**key, **found, "seconds": round(time.monotonic() - start, 1)}
            with RESULTS.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(json.dumps(row), flush=True)


def main() -> None:
    which = sys.argv[1] if len(sys.argv) > 1 else ""
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    number, of = (int(one) for one in given.pop("part", "0/1").split("/"))
    if which == "captions" and not given:
        measure(SWEEPS[which], regimes_worlds.captions, number, of)
    elif which in SWEEPS and list(given) == ["cifar10"]:
        opened = partial(regimes_worlds.labels, Path(given["cifar10"]))
        measure(SWEEPS[which], opened, number, of)
    elif which != "table":
        sys.exit(__doc__)
    write_table(list(kept().values()), list(POLICIES), list(CONTROLS))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
