"""What selection saves: the steps and the FLOPs that each policy needs for the accuracy that uniform sampling ends with.

    python -m benchmarks.selection labels 0 1 2      Fashion-MNIST, 40 % wrong labels, supervised
    python -m benchmarks.selection captions 0 1 2    emoji drawings, 60 % shuffled captions, SigLIP
    python -m benchmarks.selection junk 0 1 2        Fashion-MNIST, 70 % junk (noise, permuted pixels), SimCLR without labels

Uniform sampling trains for N steps. Every policy trains for shorter whole runs, each with its own warm-up and cosine, because that
is what a user would start: not a long run that is cut off. The length that reaches uniform's final accuracy is interpolated between
runs on the logarithm of steps; `>` or `<` says that it lies outside of what was run. FLOPs count the reference (its training, and its
losses on the whole pool), the scoring, a proxy's training, and the learner's. Results of each seed are kept in selection_SETTING.json.
"""

import itertools
import json
import math
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch

from models.methods import Objective
from stages import compose
from stages.data.pool import Pool
from stages.ingest import ingest_source
from stages.params import ROOT, Params, Policy, parse
from stages.training.build import build, open_for
from stages.training.device import generator, launch
from stages.training.examples import Examples
from stages.training.features import features, knn_top1, outputs, top_k
from stages.training.loop import Loop
from stages.training.retrieval import retrieval
from stages.training.scorers import Proxy, Reference, own, scored
from stages.training.selection import UNIFORM, Selector
from stages.training.spend import forward_flops, step_flops

HERE = Path(__file__).resolve().parent
CHUNK = 512
SMALL = "test_byobnet"
DIRT = {"noise": 0.35, "permuted": 0.35, "wrong_label": 0, "blank": 0, "exact_duplicate": 0, "near_duplicate": 0}
OVERRIDES = {
    "labels": ["experiment=curation_policies"],
    "captions": ["dataset=emoji", "experiment=captions"],
    "junk": ["experiment=curation_policies", *(f"dataset.pollution.{kind}={part}" for kind, part in DIRT.items())],
}
METHOD = {"labels": "supervised", "captions": "siglip", "junk": "simclr"}
LEARNER = dict.fromkeys(OVERRIDES, "resnet10t")
STEPS = {"labels": 360, "captions": 600, "junk": 240}
REFERENCE = dict.fromkeys(OVERRIDES, 60_000)
TESTED = {"labels": 4000, "captions": 500, "junk": 2000}


def learnability(**settings: object) -> Policy:
    return Policy(criterion="learnability", **settings)  # type: ignore[arg-type]


# policy -> (settings, the fractions of N that it is run for)
ARMS: dict[str, dict[str, tuple[Policy, tuple[float, ...]]]] = {
    "labels": {
        "uniform": (UNIFORM, (1 / 3, 1.0)),
        "easy": (Policy(criterion="easy", ratio=0.8, scorer="frozen"), (1 / 3,)),
        "learnability 0.5": (learnability(ratio=0.5), (1 / 4, 1 / 3)),
        "learnability 0.5 at 16 px": (learnability(ratio=0.5, resolution=16), (1 / 5, 1 / 4, 1 / 3)),
        "rho 0.8": (Policy(criterion="rho", ratio=0.8), (1 / 6, 1 / 4)),
        "classact 0.8": (learnability(ratio=0.8, scorer="proxy", backbone=SMALL), (1 / 3,)),
    },
    "captions": {
        "uniform": (UNIFORM, (1 / 3, 1.0)),
        "easy": (Policy(criterion="easy", ratio=0.8, scorer="frozen"), (1 / 4,)),
        "activeclip 0.8": (learnability(ratio=0.8, scorer="proxy", backbone=SMALL), (1 / 4,)),
        "jest 0.8": (learnability(ratio=0.8, sampler="joint"), (1 / 4,)),
        "jest 0.8, proxy": (learnability(ratio=0.8, sampler="joint", scorer="proxy", backbone=SMALL), (1 / 6, 1 / 4, 1 / 3)),
    },
    "junk": {
        "uniform": (UNIFORM, (1.0,)),
        "easy": (Policy(criterion="easy", ratio=0.8, scorer="frozen"), (1 / 3,)),
        "learnability 0.5": (learnability(ratio=0.5), (1 / 2,)),
        "learnability 0.8": (learnability(ratio=0.8), (1 / 3,)),
    },
}


GLOSS = """Cells hold one value a seed. Times fewer: uniform's N steps (or their FLOPs) over those that reach uniform's final accuracy;
`>` and `<` say that the shortest run already did, or the longest did not. Pays after runs: how many runs share a reference until it has
paid for itself. s/step: of the policy's longest run over uniform's, one after the other on one machine, so with its noise."""


class Setting:
    """A polluted pool, a reference trained on its trusted part, and a held-out test set; everything from one seed."""

    def __init__(self, name: str, seed: int) -> None:
        self.name, self.seed = name, seed
        self.params: Params = parse(compose.composed([*OVERRIDES[name], f"seed={seed}"]))
        folder = ROOT / ".winnow" / "benchmarks" / f"{name}-{seed}"
        if not (folder / "classes.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            ingest_source(self.params.dataset, seed, folder, lambda items, **_: items)
        self.pool = Pool.open(folder)
        self.fabric = launch(self.params.run)
        self.method, self.recipe = METHOD[name], self.params.methods[METHOD[name]]
        self.data, self.trusted, self.test = (self._examples(kind) for kind in ("pool", "trusted", "test"))
        self.bank = self._examples("bank")

    def _examples(self, kind: str) -> Examples:
        split, trusted = (self.pool.table[name].to_pylist() for name in ("split", "trusted"))
        wanted = {"pool": ("train", False), "test": ("test", False)}.get(kind, ("train", True))
        rows = [i for i, pair in enumerate(zip(split, trusted, strict=True)) if pair == wanted]
        uids = sorted(set(self.pool.table["uid"].take(rows).to_pylist()))
        if kind == "test":
            uids = uids[: TESTED[self.name]]
        if kind == "bank":
            uids = uids[:2000]
        if kind == "pool":  # an exact duplicate of a trusted or a test image stays out
            out = set(self.pool.table["uid"].take([i for i, t in enumerate(trusted) if t or split[i] == "test"]).to_pylist())
            uids = [uid for uid in uids if uid not in out]
        return open_for(self.params, self.method, LEARNER[self.name], self.pool, uids)

    def reference(self) -> tuple[Reference, int]:
        """The reference's say on every example of the pool, and all its FLOPs."""
        objective = build(self.params, self.method, SMALL, self.data.classes, self.seed + 500_000)
        steps = REFERENCE[self.name] // self.recipe.batch_size
        step = step_flops(objective, self.recipe, UNIFORM, self.trusted)
        selector = Selector(UNIFORM, self.recipe, self.trusted, None, self.seed)
        Loop(self.fabric, objective, self.trusted, self.recipe, selector, steps, self.seed).run()
        losses, sides = [], []
        with torch.no_grad():
            for start in range(0, len(self.data), CHUNK):
                indices = np.arange(start, min(start + CHUNK, len(self.data)))
                batch = self.data.batch(
                    indices, self.data.pixels.get(indices), self.recipe.score_views, generator("score", start), self.fabric.device
                )
                if objective.PAIR:
                    sides.append(objective.eval().embed(batch))
                    losses.append(own(objective, objective.compare(*sides[-1])))
                else:
                    losses.append(scored(objective, batch).example)
        both = (torch.cat([s[0] for s in sides]), torch.cat([s[1] for s in sides])) if sides else None
        cost = steps * step.train + len(self.data) * forward_flops(objective, self.recipe.score_views, CHUNK, self.data) // CHUNK
        print(f"  reference: {self.accuracy(objective):.4f}, {cost:.3g} FLOPs", flush=True)
        return Reference(torch.cat(losses), both, objective.eval().requires_grad_(False)), cost

    def accuracy(self, objective: Objective) -> float:
        """On held-out images: top-1 of the method's own classifier, the mean of both recalls at 1, or top-1 of a kNN vote."""
        if self.name == "junk":
            bank, queries = (features(objective.exported(), data, self.fabric) for data in (self.bank, self.test))
            return knn_top1(bank, self.bank.labels, queries, self.test.labels)
        if self.name == "labels":
            return top_k(outputs(objective, objective.classify, self.test, self.fabric), self.test.labels, 1)  # type: ignore[arg-type]
        found = retrieval(objective, self.test, self.pool.classes, self.fabric)
        return (found["i2t_r1"] + found["t2i_r1"]) / 2

    def train(self, policy: Policy, steps: int, reference: Reference) -> dict[str, float]:
        """One whole run; its accuracy, its FLOPs without the reference's, its seconds a step and its share of dirt."""
        objective = build(self.params, self.method, LEARNER[self.name], self.data.classes, self.seed)
        proxy = build(self.params, self.method, policy.backbone, self.data.classes, self.seed + 1) if policy.backbone else None
        step = step_flops(objective, self.recipe, policy, self.data, proxy, reference)
        scorer = Proxy(self.fabric, proxy, self.recipe, steps) if proxy else None
        selector = Selector(policy, self.recipe, self.data, reference, self.seed, scorer)
        began = time.perf_counter()
        state = Loop(self.fabric, objective, self.data, self.recipe, selector, steps, self.seed).run()
        seconds = (time.perf_counter() - began) / steps
        dirty = self._dirty()[state.column("index").numpy()].mean()
        return {
            "steps": steps,
            "flops": steps * step.total,
            "score": steps * step.score,
            "accuracy": self.accuracy(objective),
            "seconds_a_step": round(seconds, 4),
            "dirt": round(float(dirty), 4),
        }

    def _dirty(self) -> np.ndarray:
        """Which examples of the pool are dirty, (n,): for the report only, after the run."""
        import pyarrow.parquet as pq

        table = pq.ParquetFile(self.pool.folder / "dirt.parquet").read(columns=["key", "dirt"])
        dirt = dict(zip(table["key"].to_pylist(), table["dirt"].to_pylist(), strict=True))
        keys = self.pool.table["key"].take(self.pool.rows(self.data.uids)).to_pylist()
        return np.array([dirt.get(key) is not None for key in keys])


def measure(name: str, seed: int) -> dict[str, object]:
    setting = Setting(name, seed)
    print(f"{name}, seed {seed}: {len(setting.data)} in the pool, {len(setting.trusted)} trusted, {len(setting.test)} test", flush=True)
    reference, cost = setting.reference()
    runs: dict[str, list[dict[str, float]]] = {}
    for arm, (policy, fractions) in ARMS[name].items():
        for fraction in fractions:
            run = setting.train(policy, round(fraction * STEPS[name]), reference)
            runs.setdefault(arm, []).append(run)
            print(f"  {arm:18s} {run}", flush=True)
    return {"reference_flops": cost, "runs": runs}


def needed(runs: list[dict[str, float]], target: float, key: str) -> tuple[str, float]:
    """How much of `key` reaches the target, and whether that is `<` or `>` what was run, or interpolated (blank)."""
    runs = sorted(runs, key=lambda run: run["steps"])
    if runs[0]["accuracy"] >= target:
        return "<", runs[0][key]
    for less, more in itertools.pairwise(runs):
        if more["accuracy"] >= target:
            part = (target - less["accuracy"]) / (more["accuracy"] - less["accuracy"])
            return "", math.exp(math.log(less[key]) + part * (math.log(more[key]) - math.log(less[key])))
    return ">", runs[-1][key]


def summary(name: str, seeds: dict[str, dict[str, object]]) -> str:
    """The table, one row a policy: each cell the seeds' values."""
    lines = [
        "| policy | steps to uniform's accuracy: times fewer | FLOPs without the reference: times fewer | FLOPs with it: times fewer | "
        "pays after runs | s/step over uniform | dirt trained on |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS[name]:
        cells: list[list[str]] = [[] for _ in range(6)]
        for result in seeds.values():
            runs: dict[str, list[dict[str, float]]] = result["runs"]  # type: ignore[assignment]
            cost = float(result["reference_flops"]) if arm not in ("uniform", "hard") else 0.0  # type: ignore[arg-type]
            base = max(runs["uniform"], key=lambda run: run["steps"])
            sign, steps = needed(runs[arm], base["accuracy"], "steps")
            _, flops = needed(runs[arm], base["accuracy"], "flops")
            flip = {"<": ">", ">": "<", "": ""}[sign]
            cells[0].append(f"{flip}{base['steps'] / steps:.1f}")
            cells[1].append(f"{flip}{base['flops'] / flops:.1f}")
            cells[2].append(f"{flip}{base['flops'] / (flops + cost):.1f}")
            saved = base["flops"] - flops
            cells[3].append("never" if saved <= 0 else f"{math.ceil(cost / saved)}" if cost else "0")
            cells[4].append(f"{runs[arm][-1]['seconds_a_step'] / base['seconds_a_step']:.2f}")
            cells[5].append(f"{100 * runs[arm][-1]['dirt']:.0f} %")
        lines.append(f"| {arm} | " + " | ".join(" / ".join(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    name, seeds = sys.argv[1], sys.argv[2:] or ["0", "1", "2"]
    path = HERE / f"selection_{name}.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    for seed in seeds:
        kept[seed] = measure(name, int(seed))
        path.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
    text = summary(name, dict(sorted(kept.items())))
    machine = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    notes = f"{len(kept)} seeds, N = {STEPS[name]} steps of batch 128, learner {LEARNER[name]}, reference and proxy {SMALL}; {machine}"
    page = f"# Selection: {name}\n\n`python -m benchmarks.selection {name} {' '.join(sorted(kept))}`: {notes}.\n\n{text}\n\n{GLOSS}\n"
    (HERE / f"selection_{name}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
