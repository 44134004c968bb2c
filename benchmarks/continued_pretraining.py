"""Is it worth it to train on from weights, and what do layer-wise learning-rate decay and holding the encoder
bring?

    python -m benchmarks.continued_pretraining [SEED ...]

Fashion-MNIST, supervised, test_resnet at 28 px. The weights are made on the pool, 40 % of whose labels are
wrong, in WEIGHTS steps. Then each row trains on for MORE steps on the clean images that are trusted, at the
learning rate of training from scratch: from these weights by way of the files that an arm leaves
(winnow/training/initial_weights.py), or from scratch, for as many steps or for the FLOPs of both parts.
`frozen` are the weights untouched. Read by a linear probe: logistic regression on 2,000 clean images, top-1
on the test images. Each row beside its step count and FLOPs; one thread. No time is measured.
"""

import platform
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.selection import HERE, Bench
from models.methods import Objective
from stages.linear_probe import fit, logits
from winnow.config.derive import derive
from winnow.config.schema import Arm, Backbone, Method, Params
from winnow.evaluation.features import features, top_k
from winnow.loading.examples import Examples
from winnow.selection.cost import step_flops, trained_flops
from winnow.selection.policy import UNIFORM
from winnow.selection.selector import Selector
from winnow.training.build import build
from winnow.training.initial_weights import InitialWeights
from winnow.training.loop import Loop
from winnow.training.schedule import held_steps
from winnow.training.weights import save_encoder

WEIGHTS, MORE = 300, 60
BACKBONE = Backbone("test_resnet", 28)


@dataclass(frozen=True)
class Run:
    """A row: whether it starts from the weights, for how many steps, and how gently."""

    started: bool
    steps: int
    layer_decay: float | None = None
    freeze: float = 0.0


RUNS = {
    "frozen": Run(True, 0),
    "from scratch, as many steps": Run(False, MORE),
    "from scratch, the FLOPs of both": Run(False, WEIGHTS + MORE),
    "trained on": Run(True, MORE),
    "trained on, layer_decay 0.7": Run(True, MORE, layer_decay=0.7),
    "trained on, layer_decay 0.5": Run(True, MORE, layer_decay=0.5),
    "trained on, freeze 0.2": Run(True, MORE, freeze=0.2),
    "trained on, freeze 0.5": Run(True, MORE, freeze=0.5),
    "trained on, layer_decay 0.7, freeze 0.2": Run(True, MORE, 0.7, 0.2),
}


class Weights:
    """The weights of one seed, as an arm leaves them on disk."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        objective, self.flops = self.train(bench.data, None, Run(False, WEIGHTS))
        self.path = folder / "results/pretrain/half"
        save_encoder(self.path, objective.exported(), BACKBONE)

    def train(self, data: Examples, start: InitialWeights | None, run: Run) -> tuple[Objective, int]:
        """A finished learner, and its FLOPs."""
        bench, seed = self.bench, self.bench.seed
        recipe: Method = replace(bench.recipe, layer_decay=run.layer_decay, freeze=run.freeze)
        load = start.load if start else None
        objective = build(bench.params, bench.method, BACKBONE, data.classes, seed, load)
        bench.fabric.to_device(objective)
        if not run.steps:
            return objective, 0
        step = step_flops(objective, recipe, UNIFORM, data)
        selector = Selector(UNIFORM, recipe, data, None, seed)
        Loop(bench.fabric, objective, data, recipe, selector, run.steps, seed).run()
        return objective, trained_flops(step, run.steps, held_steps(recipe, run.steps))

    def start(self) -> InitialWeights:
        backbone = replace(BACKBONE, weights=str(self.path))
        params = Params(backbones={"b": backbone}, arms={"a": Arm("uniform", "supervised", "b")})
        derive(params)
        return InitialWeights.open(Path("/"), "backbones.b", backbone, params.arms["a"].dvc)


def top1(bench: Bench, objective: Objective) -> float:
    """Linear top-1 on test: standardised features, L2 1e-3, as in stages/linear_probe.py."""
    bank, test = (features(objective.exported(), data, bench.fabric) for data in (bench.bank, bench.test))
    mean, std = bank.mean(dim=0), bank.std(dim=0) + 1e-6
    both: list[Tensor] = [(values - mean) / std for values in (bank, test)]
    weight = fit(both[0], bench.bank.labels, bench.data.classes, 1e-3, 100)
    return top_k(logits(weight, both[1]), bench.test.labels, 1)


def measure(seed: int) -> dict[str, tuple[float, int]]:
    """Row -> accuracy and FLOPs, those of the weights included."""
    bench = Bench("labels", seed)
    with tempfile.TemporaryDirectory() as folder:
        weights, found = Weights(bench, Path(folder)), {}
        for name, run in RUNS.items():
            start = weights.start() if run.started else None
            objective, spent = weights.train(bench.trusted, start, run)
            found[name] = top1(bench, objective), spent + (weights.flops if start else 0)
            print(f"  seed {seed}, {name}: {found[name][0]:.4f}, {found[name][1]:.4g} FLOPs", flush=True)
    return found


def main() -> None:
    seeds = [int(seed) for seed in sys.argv[1:]] or [0, 1, 2]
    results = [measure(seed) for seed in seeds]
    lines = ["| from | steps | GFLOPs, weights included | linear top-1, % | mean |", "|---|--:|--:|--:|--:|"]
    for name, run in RUNS.items():
        values = [100 * one[name][0] for one in results]
        each, mean = " / ".join(f"{value:.1f}" for value in values), sum(values) / len(values)
        lines.append(f"| {name} | {run.steps} | {results[0][name][1] / 1e9:.1f} | {each} | {mean:.1f} |")
    command = f"python -m benchmarks.continued_pretraining {' '.join(map(str, seeds))}"
    machine = f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}"
    notes = f"{len(seeds)} seeds, {BACKBONE.name}; {machine}"
    page = f"# Continued pretraining\n\n`{command}`: {notes}.\n\n"
    page += "\n".join(lines) + "\n"
    (HERE / "continued_pretraining.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
