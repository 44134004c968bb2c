"""What selection saves: the steps and the FLOPs that each policy needs for the accuracy that uniform sampling ends with.

    python -m benchmarks.selection labels 0 1 2      Fashion-MNIST, 40 % wrong labels, supervised
    python -m benchmarks.selection captions 0 1 2    emoji drawings, 60 % shuffled captions, SigLIP
    python -m benchmarks.selection patches 0 1 2     the same with a vision transformer: JEST and Flexi-JEST
    python -m benchmarks.selection simclr 0 1 2      Fashion-MNIST, 70 % junk (noise, permuted pixels), SimCLR without labels
    python -m benchmarks.selection dino 0 1 2        the same with DINO
    python -m benchmarks.selection copies 0 1 2      Fashion-MNIST, half of the pool near copies of the other half, SimCLR

Uniform sampling trains for N steps. Every policy trains for shorter whole runs, each with its own warm-up and cosine, because that
is what a user would start: not a long run that is cut off. The length that reaches uniform's final accuracy is interpolated between
runs on the logarithm of steps; `>` or `<` says that it lies outside of what was run. FLOPs count the reference (its training, and its
losses on the whole pool), the scoring, a proxy's or an online reference's training, and the learner's. One thread, so that two
settings can be measured side by side: seconds are not measured here (benchmarks/overhead.py). Results of each seed are kept in
selection_SETTING.json; runs that are there are not made again, and `table` in place of the seeds writes their table anew.
"""

import hashlib
import itertools
import json
import math
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from models.methods import Objective
from stages import compose
from stages.data.pool import Pool
from stages.ingest import ingest_source
from stages.params import ROOT, Backbone, Params, Policy, parse
from stages.reference import score, train
from stages.training.build import build, open_for
from stages.training.device import launch
from stages.training.examples import Examples
from stages.training.features import features, knn_top1, outputs, top_k
from stages.training.loop import Loop
from stages.training.retrieval import retrieval
from stages.training.scorers import Online, Proxy, Reference
from stages.training.selection import UNIFORM, Selector, needs_reference
from stages.training.spend import step_flops

HERE = Path(__file__).resolve().parent
SMALL = Backbone("test_byobnet")
JUNK = [f"dataset.pollution.{kind}={part}" for kind, part in (("noise", 0.35), ("permuted", 0.35), ("wrong_label", 0), ("blank", 0))]
ALONE = ["dataset.pollution.exact_duplicate=0", "dataset.pollution.near_duplicate=0"]
COPIES = [f"dataset.pollution.{kind}=0" for kind in ("noise", "permuted", "wrong_label", "blank")]
COPIES += ["dataset.pollution.exact_duplicate=0", "dataset.pollution.near_duplicate=1"]
CAPTIONS = ["dataset=emoji", "experiment=captions", "methods.siglip.lr=0.002"]
VIT = ["+backbone@backbones.test_vit=test_vit", "reference.backbone=test_vit"]


def learnability(**settings: object) -> Policy:
    return Policy(criterion="learnability", **settings)  # type: ignore[arg-type]


def jest(**settings: object) -> Policy:
    return learnability(ratio=0.8, sampler="joint", **settings)


PROXY = {"scorer": "proxy", "proxy": SMALL}
EASY = Policy(criterion="easy", ratio=0.8, scorer="frozen")
Arms = dict[str, tuple[Policy, tuple[float, ...]]]  # policy -> (settings, the fractions of N that it is run for)


@dataclass
class Setting:
    overrides: list[str]
    method: str
    steps: int  # N
    arms: Arms
    learner: str = "resnet10t"
    tested: int = 2000
    reads: str = "knn"  # own: top-1 of the method's own classifier; recall: the mean of both recalls at 1; knn: a vote on features
    shares: tuple[str, ...] = ("dirt",)  # of what was trained on, in the table


def junk(method: str, ratios: tuple[float, ...], *added: str) -> Setting:
    arms: Arms = {"uniform": (UNIFORM, (1 / 2, 1.0, 2.0)), "easy 0.8": (EASY, (1 / 2,))}
    arms |= {f"learnability {ratio}": (learnability(ratio=ratio), (1 / 2,)) for ratio in ratios}
    overrides = ["experiment=curation_policies", *added, "dataset.limit=30000", *JUNK, *ALONE]
    return Setting(overrides, method, 120, arms, shares=("noise", "permuted"))


SETTINGS = {
    "labels": Setting(
        ["experiment=curation_policies"],
        "supervised",
        360,
        {
            "uniform": (UNIFORM, (1 / 4, 1 / 2, 1.0)),
            "hard 0.5": (Policy(criterion="hard", ratio=0.5), (1 / 3,)),
            "easy 0.8": (EASY, (1 / 3,)),
            "learnability 0.5": (learnability(ratio=0.5), (1 / 4, 1 / 3, 1 / 2)),
            "learnability 0.5 at 16 px": (learnability(ratio=0.5, resolution=16), (1 / 5, 1 / 4, 1 / 3, 1 / 2)),
            "learnability 0.8 at 16 px": (learnability(ratio=0.8, resolution=16), (1 / 6, 1 / 4)),
            "rho 0.8": (Policy(criterion="rho", ratio=0.8), (1 / 6, 1 / 4)),
            "classact 0.8": (learnability(ratio=0.8, **PROXY), (1 / 3, 1 / 2)),
        },
        tested=4000,
        reads="own",
    ),
    "captions": Setting(
        CAPTIONS,
        "siglip",
        1200,
        {
            "uniform": (UNIFORM, (1 / 4, 1 / 2, 1.0)),
            "easy 0.8": (EASY, (1 / 6,)),
            "learnability 0.8, proxy": (learnability(ratio=0.8, **PROXY), (1 / 6,)),
            "jest 0.8": (jest(), (1 / 8,)),
            "jest 0.8, proxy": (jest(**PROXY), (1 / 12, 1 / 8, 1 / 6)),
            "jest 0.8, proxy, online reference": (jest(online=SMALL, **PROXY), (1 / 6,)),
        },
        tested=500,
        reads="recall",
    ),
    "patches": Setting(
        [*CAPTIONS, *VIT],
        "siglip",
        600,
        {
            "uniform": (UNIFORM, (1 / 2, 1.0)),
            "jest 0.8": (jest(), (1 / 4,)),
            "flexi_jest 0.8": (jest(patch=8, coarse=True), (1 / 4, 1 / 2)),
        },
        learner="test_vit",
        tested=500,
        reads="recall",
    ),
    "simclr": junk("simclr", (0.8,)),
    "dino": junk("dino", (0.8, 0.9), "+method@methods.dino=dino"),
    "copies": Setting(
        ["experiment=curation_policies", "dataset.limit=30000", *COPIES],
        "simclr",
        120,
        {
            "uniform": (UNIFORM, (1 / 2, 1.0, 2.0)),
            "learnability 0.8": (learnability(ratio=0.8), (1 / 2,)),
            "jest 0.8": (jest(), (1 / 2,)),
        },
        shares=("copies",),
    ),
}


HEADS = {
    "dirt": "dirt trained on",
    "noise": "noise trained on",
    "permuted": "permuted pixels trained on",
    "copies": "copies trained on",
}
GLOSS = """Cells hold one value a seed; a row with fewer was not run with all of them. Times fewer: uniform's N steps (or their
FLOPs) over those that reach uniform's final accuracy; `>` and `<` say that the shortest run already did, or the longest did not.
Pays after: how many runs share a reference until it has paid for itself. At equal FLOPs: accuracy of the longest run, and of
uniform sampling that spends as much, the reference included (interpolated between uniform's runs on the logarithm of FLOPs; `<`
where that is less than its shortest run, `>` where it is more than its longest, so that uniform might still have gained)."""


class Bench:
    """A polluted pool, a reference trained on its trusted part, and a held-out test set; everything from one seed."""

    def __init__(self, name: str, seed: int, setting: Setting | None = None, threads: int = 1) -> None:
        self.setting, self.seed = setting or SETTINGS[name], seed
        given = [*self.setting.overrides, f"run.threads={threads}", "reference.examples=60000", f"seed={seed}"]
        self.params: Params = parse(compose.composed(given))
        made_of = hashlib.sha256(repr((self.params.dataset, seed)).encode()).hexdigest()[:12]
        folder = ROOT / ".winnow" / "benchmarks" / made_of
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            ingest_source(self.params.dataset, seed, partial, lambda items, **_: items)
            partial.rename(folder)
        self.pool, self.fabric = Pool.open(folder), launch(self.params.run)
        self.method, self.recipe = self.setting.method, self.params.methods[self.setting.method]
        self.data, self.trusted, self.test, self.bank = (self._examples(kind) for kind in ("pool", "trusted", "test", "bank"))
        table = pq.ParquetFile(folder / "dirt.parquet").read(columns=["key", "dirt"])
        self.dirt = dict(zip(table["key"].to_pylist(), table["dirt"].to_pylist(), strict=True))
        self.keys = self.pool.table["key"].take(self.pool.rows(self.data.uids)).to_pylist()

    def _examples(self, kind: str) -> Examples:
        split, trusted = (self.pool.table[name].to_pylist() for name in ("split", "trusted"))
        wanted = {"pool": ("train", False), "test": ("test", False)}.get(kind, ("train", True))
        rows = [i for i, pair in enumerate(zip(split, trusted, strict=True)) if pair == wanted]
        uids = sorted(set(self.pool.table["uid"].take(rows).to_pylist()))
        if kind == "pool":  # an exact duplicate of a trusted or a test image stays out
            out = set(self.pool.table["uid"].take([i for i, t in enumerate(trusted) if t or split[i] == "test"]).to_pylist())
            uids = [uid for uid in uids if uid not in out]
        uids = uids[: {"test": self.setting.tested, "bank": 2000}.get(kind)]
        backbone = self.params.reference.backbone if kind == "trusted" else self.setting.learner
        return open_for(self.params, self.method, backbone, self.pool, uids)

    def reference(self) -> tuple[Reference, int]:
        """The reference's say on every example of the pool, and all its FLOPs."""
        loop, spent = train(self.params, self.fabric, self.method, self.trusted)
        losses, sides, cost = score(self.params, self.fabric, loop.objective, self.data, self.method)
        print(f"  reference: {self.accuracy(loop.objective):.4f}, {spent + cost:.3g} FLOPs", flush=True)
        return Reference(losses, sides, loop.objective.eval().requires_grad_(False)), spent + cost

    def accuracy(self, objective: Objective) -> float:
        """On held-out images, as the setting reads it."""
        if self.setting.reads == "knn":
            bank, queries = (features(objective.exported(), data, self.fabric) for data in (self.bank, self.test))
            return knn_top1(bank, self.bank.labels, queries, self.test.labels)
        if self.setting.reads == "own":
            return top_k(outputs(objective, objective.classify, self.test, self.fabric), self.test.labels, 1)  # type: ignore[arg-type]
        found = retrieval(objective, self.test, self.pool.classes, self.fabric)
        return (found["i2t_r1"] + found["t2i_r1"]) / 2

    def train(self, policy: Policy, steps: int, reference: Reference | None) -> dict[str, float]:
        """One whole run; its accuracy, its FLOPs without the reference's, and what it trained on."""
        classes, seed = self.data.classes, self.seed
        objective = build(self.params, self.method, self.setting.learner, classes, seed)
        proxy = build(self.params, self.method, policy.proxy, classes, seed + 1) if policy.proxy else None
        online = build(self.params, self.method, policy.online, classes, seed + 2) if policy.online else None
        step = step_flops(objective, self.recipe, policy, self.data, proxy, reference, online)
        if online:
            reference = Online(Proxy(self.fabric, online, self.recipe, steps), self.trusted, self.recipe, policy, seed + 2)
        scorer = Proxy(self.fabric, proxy, self.recipe, steps) if proxy else None
        selector = Selector(policy, self.recipe, self.data, reference, seed, scorer)
        state = Loop(self.fabric, objective, self.data, self.recipe, selector, steps, seed).run()
        spent = {"steps": steps, "flops": steps * step.total, "score": steps * step.score}
        return {**spent, "accuracy": self.accuracy(objective), **self._trained_on(state.column("index").numpy())}

    def _trained_on(self, indices: np.ndarray) -> dict[str, float]:
        """Shares of what was trained on, for the report only."""
        kinds = [self.dirt.get(self.keys[i]) for i in indices]
        shares = {kind: kinds.count(kind) / len(kinds) for kind in ("noise", "permuted")}
        shares["copies"] = (kinds.count("exact_duplicate") + kinds.count("near_duplicate")) / len(kinds)
        return {name: round(share, 4) for name, share in {"dirt": 1 - kinds.count(None) / len(kinds), **shares}.items()}


def measure(name: str, seed: int, kept: dict[str, Any]) -> dict[str, Any]:
    """The runs that are not among the kept ones; the reference is trained only if one of them asks for it."""
    bench, runs = Bench(name, seed), dict(kept.get("runs", {}))
    print(f"{name}, seed {seed}: {len(bench.data)} in the pool, {len(bench.trusted)} trusted, {len(bench.test)} test", flush=True)
    reference, cost = None, kept.get("reference_flops", 0)
    for arm, (policy, fractions) in bench.setting.arms.items():
        for fraction in fractions:
            steps = round(fraction * bench.setting.steps)
            if any(run["steps"] == steps for run in runs.get(arm, [])):
                continue
            if reference is None and needs_reference(policy):
                reference, cost = bench.reference()
            run = bench.train(policy, steps, reference if needs_reference(policy) else None)
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


def at_flops(runs: list[dict[str, float]], flops: float) -> str:
    """Accuracy of the policy whose runs these are, for this many FLOPs."""
    runs = sorted(runs, key=lambda run: run["steps"])
    logs = [math.log(run["flops"]) for run in runs]
    value = float(np.interp(math.log(flops), logs, [run["accuracy"] for run in runs]))
    sign = "<" if math.log(flops) < logs[0] else ">" if math.log(flops) > logs[-1] + 1e-9 else ""
    return f"{sign}{100 * value:.1f}"


def summary(setting: Setting, seeds: dict[str, dict[str, Any]]) -> str:
    """The table, one row a policy: each cell the seeds' values."""
    titles = ["policy", "steps: times fewer", "FLOPs: times fewer", "with the reference's", "pays after", "accuracy at equal FLOPs, %"]
    titles += [HEADS[share] for share in setting.shares]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for arm, (policy, _) in setting.arms.items():
        cells: list[list[str]] = [[] for _ in titles[1:]]
        for result in seeds.values():
            found: dict[str, list[dict[str, float]]] = result["runs"]
            runs = {name: sorted(of, key=lambda run: run["steps"]) for name, of in found.items()}
            if arm not in runs:
                continue
            free = policy.criterion in ("uniform", "hard") or policy.online
            cost = 0.0 if free else float(result["reference_flops"])
            base = next(run for run in runs["uniform"] if run["steps"] == setting.steps)
            sign, steps = needed(runs[arm], base["accuracy"], "steps")
            _, flops = needed(runs[arm], base["accuracy"], "flops")
            flip, last = {"<": ">", ">": "<", "": ""}[sign], runs[arm][-1]
            saved = base["flops"] - flops
            values = [
                f"{flip}{base['steps'] / steps:.1f}",
                f"{flip}{base['flops'] / flops:.1f}",
                f"{flip}{base['flops'] / (flops + cost):.1f}",
            ]
            paid = "never" if saved < 0 else f"{math.ceil(cost / saved) if cost else 0}"
            values += ["" if policy == UNIFORM else "not reached" if sign == ">" else paid]
            values += [f"{100 * last['accuracy']:.1f} ({at_flops(runs['uniform'], last['flops'] + cost)})"]
            values += [f"{100 * last[share]:.1f} %" for share in setting.shares]
            for cell, value in zip(cells, values, strict=True):
                cell.append(value)
        if any(cells):
            lines.append(f"| {arm} | " + " | ".join(" / ".join(cell) for cell in cells) + " |")
    return "\n".join(lines)


def main() -> None:
    name, seeds = sys.argv[1], sys.argv[2:] or ["0", "1", "2"]
    path, setting = HERE / f"selection_{name}.json", SETTINGS[name]
    kept = json.loads(path.read_text()) if path.exists() else {}
    for seed in seeds if seeds != ["table"] else []:
        kept[seed] = measure(name, int(seed), kept.get(seed, {}))
        path.write_text(json.dumps(dict(sorted(kept.items())), indent=1) + "\n")
    text = summary(setting, dict(sorted(kept.items())))
    machine = f"{platform.processor() or platform.machine()}, one thread, torch {torch.__version__}"
    small = setting.learner if setting.learner != "resnet10t" else SMALL.name
    notes = f"{len(kept)} seeds, N = {setting.steps} steps, learner {setting.learner}, reference {small}; {machine}"
    page = f"# Selection: {name}\n\n`python -m benchmarks.selection {name} {' '.join(sorted(kept))}`: {notes}.\n\n{text}\n\n{GLOSS}\n"
    (HERE / f"selection_{name}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
