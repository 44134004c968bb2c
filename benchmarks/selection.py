"""What selection saves: the steps and FLOPs that each policy needs for what uniform sampling reached.

    python -m benchmarks.selection labels 0 1 2      Fashion-MNIST, 40 % wrong labels, supervised
    python -m benchmarks.selection captions 0 1 2    emoji drawings, 60 % shuffled captions, SigLIP
    python -m benchmarks.selection patches 0 1 2     the same with a vision transformer: JEST and Flexi-JEST
    python -m benchmarks.selection simclr 0 1 2      Fashion-MNIST, 70 % junk (noise, permuted pixels), SimCLR
                                                     without labels
    python -m benchmarks.selection dino 0 1 2        the same with DINO
    python -m benchmarks.selection copies 0 1 2      Fashion-MNIST, half of the pool near copies of the other
                                                     half, SimCLR

Uniform sampling trains for N steps. Every policy trains for shorter whole runs, each with its own warm-up and
cosine, because a user would start such a run, and not cut off a long one. What uniform sampling reached is
read at its shortest run within one standard error of its best; the length that reaches it is interpolated
between runs on the logarithm of steps; `>` or `<` says that it lies outside of what was run. FLOPs count the
reference (its training, and its losses on the whole pool), the scoring, the training of a proxy or an online
reference, and the learner's. One thread, so that two settings can be measured side by side; seconds are not
measured here (benchmarks/overhead.py). Results of each seed are kept in selection_SETTING.json; runs that are
in it are not repeated, and `table` in place of the seeds writes their table anew.
"""

import hashlib
import json
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.selection_settings import SETTINGS, SMALL, Setting
from benchmarks.selection_table import GLOSS, summary
from models.methods import Objective
from winnow.config.compose import composed
from winnow.config.derive import needs_reference
from winnow.config.load import parse
from winnow.config.schema import Params, Policy
from winnow.evaluation.features import features, knn_top1, outputs, top_k
from winnow.evaluation.retrieval import retrieval
from winnow.ingest.ingest import ingest_source
from winnow.loading.examples import Examples
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool
from winnow.selection.cost import step_flops
from winnow.selection.reference import Online, Reference
from winnow.selection.scorers import Proxy
from winnow.selection.selector import Selector
from winnow.selection.train_reference import judge, train_reference
from winnow.training.build import build, open_for
from winnow.training.device import launch
from winnow.training.loop import Loop

HERE = Path(__file__).resolve().parent


class Bench:
    """A corrupted pool, a reference trained on its trusted part, and a held-out test set, from one seed."""

    def __init__(self, name: str, seed: int, setting: Setting | None = None, threads: int = 1) -> None:
        self.setting, self.seed = setting or SETTINGS[name], seed
        workspace = Workspace(HERE.parent)
        given = [f"run.threads={threads}", "reference.examples=60000", f"seed={seed}"]
        self.params: Params = parse(composed([*self.setting.overrides, *given], workspace.conf))
        dataset = next(iter(self.params.datasets.pool.values()))
        made_of = hashlib.sha256(repr((dataset, seed)).encode()).hexdigest()[:12]
        folder = workspace.hidden / "benchmarks" / made_of
        if not folder.exists():
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            ingest_source(dataset, seed, partial, lambda items, **_: items)
            partial.rename(folder)
        self.pool, self.fabric = Pool.open(folder), launch(self.params.run)
        self.method, self.recipe = self.setting.method, self.params.methods[self.setting.method]
        self.data, self.trusted, self.test, self.bank = (
            self._examples(kind) for kind in ("pool", "trusted", "test", "bank")
        )
        table = pq.ParquetFile(folder / "corruption.parquet").read(columns=["key", "corruption"])
        self.corruption = dict(zip(table["key"].to_pylist(), table["corruption"].to_pylist(), strict=True))
        self.keys = self.pool.table["key"].take(self.pool.rows(self.data.uids)).to_pylist()

    def _examples(self, kind: str) -> Examples:
        split, trusted = (self.pool.table[name].to_pylist() for name in ("split", "trusted"))
        wanted = {"pool": ("train", False), "test": ("test", False)}.get(kind, ("train", True))
        rows = [i for i, pair in enumerate(zip(split, trusted, strict=True)) if pair == wanted]
        column = self.pool.table["uid"]
        uids = sorted(set(column.take(rows).to_pylist()))
        if kind == "pool":  # without exact duplicates of trusted and test images
            others = [i for i, t in enumerate(trusted) if t or split[i] == "test"]
            known = set(column.take(others).to_pylist())
            uids = [uid for uid in uids if uid not in known]
        uids = uids[: {"test": self.setting.tested, "bank": 2000}.get(kind)]
        backbone = self.params.reference.backbone if kind == "trusted" else self.setting.learner
        return open_for(self.params, self.method, backbone, self.pool, uids)

    def reference(self) -> tuple[Reference, int]:
        """A reference with its losses of every example of the pool, and all its FLOPs."""
        loop, spent = train_reference(self.params, self.fabric, self.method, self.trusted)
        judged, cost = judge(self.params, self.fabric, loop.objective, self.data, self.method)
        print(f"  reference: {self.accuracy(loop.objective):.4f}, {spent + cost:.3g} FLOPs", flush=True)
        objective = loop.objective.eval().requires_grad_(False)
        return Reference(judged.losses, judged.embeddings, objective), spent + cost

    def accuracy(self, objective: Objective) -> float:
        """On held-out images, as the setting reads it."""
        if self.setting.reads == "knn":
            bank, queries = (
                features(objective.exported(), data, self.fabric) for data in (self.bank, self.test)
            )
            return knn_top1(bank, self.bank.labels, queries, self.test.labels)
        if self.setting.reads == "classifier":
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
            model = Proxy(self.fabric, online, self.recipe, steps)
            reference = Online(model, self.trusted, self.recipe, policy, seed + 2)
        scorer = Proxy(self.fabric, proxy, self.recipe, steps) if proxy else None
        selector = Selector(policy, self.recipe, self.data, reference, seed, scorer)
        state = Loop(self.fabric, objective, self.data, self.recipe, selector, steps, seed).run()
        spent = {"steps": steps, "flops": steps * step.total, "score": steps * step.score}
        shares = self._trained_on(state.column("index").numpy())
        return {**spent, "accuracy": self.accuracy(objective), **shares}

    def _trained_on(self, indices: np.ndarray) -> dict[str, float]:
        """Shares of what was trained on, for the report only."""
        kinds = [self.corruption.get(self.keys[i]) for i in indices]
        shares = {kind: kinds.count(kind) / len(kinds) for kind in ("noise", "permuted")}
        shares["copies"] = (kinds.count("exact_duplicate") + kinds.count("near_duplicate")) / len(kinds)
        corrupted = {"corruption": 1 - kinds.count(None) / len(kinds)}
        return {name: round(share, 4) for name, share in {**corrupted, **shares}.items()}


def measure(name: str, seed: int, kept: dict[str, Any]) -> dict[str, Any]:
    """All runs, those that were kept included; the reference is trained only if a new one needs it."""
    bench, runs = Bench(name, seed), dict(kept.get("runs", {}))
    sizes = f"{len(bench.data)} in the pool, {len(bench.trusted)} trusted, {len(bench.test)} test"
    print(f"{name}, seed {seed}: {sizes}", flush=True)
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
    models = f"learner {setting.learner}, reference {small}"
    notes = f"{len(kept)} seeds, N = {setting.steps} steps, {models}; {machine}"
    command = f"python -m benchmarks.selection {name} {' '.join(sorted(kept))}"
    page = f"# Selection: {name}\n\n`{command}`: {notes}.\n\n{text}\n\n{GLOSS}\n"
    (HERE / f"selection_{name}.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
