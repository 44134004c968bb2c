"""pretrain@ARM: pretrain one learner under one policy until its FLOP budget is spent.

Charged to the budget: the arm's share of its version's curation, its share of the reference (if its criterion uses one), scoring, and
training. Readings on the val split and downstream tasks are recorded, and not charged: every arm pays the same for them.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning_fabric import Fabric

from models import methods
from models.flops import count
from models.methods import Objective
from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.params import MODELS, ROOT, Arm
from stages.params_check import check_fit
from stages.stage import Stage, main
from stages.training.build import build, open_for
from stages.training.checkpoint import Checkpoint, key
from stages.training.device import launch
from stages.training.examples import Examples
from stages.training.features import features, knn_top1, open_split, outputs, top_k
from stages.training.loop import COLUMNS, Loop, State
from stages.training.retrieval import retrieval
from stages.training.scorers import Online, Proxy, Reference, open_reference, reference_method, replayed
from stages.training.selection import Replay, Selector, compares, needs_reference, needs_twin
from stages.training.spend import StepFlops, step_flops, steps_within
from stages.training.weights import save_encoder

PROXY = 250_000  # added to an arm's seed for its proxy, which must not start as a copy of the learner
ONLINE = 750_000  # the same for a reference that is trained beside it
BANK = 1000  # labelled examples that the kNN readings along the way look at


def pretrain(stage: Stage) -> None:
    """Train the arm's learner; write its encoder, trace and curve."""
    params, arm = stage.params, _arm(stage)
    recipe, policy = params.methods[arm.method], params.policies[arm.policy]
    check_fit(params, arm)
    pool = Pool.open(ROOT / "data/pool")
    data = open_for(params, arm.method, arm.backbone, pool, uid_files.load(_version(arm) / "uids.npy"))
    fabric, seed = launch(params.run), 1_000_003 * params.seed + arm.seed
    objective = build(params, arm.method, arm.backbone, data.classes, seed)
    curated = _curated(stage, arm)
    share, reference = _reference(stage, arm, data)
    proxy = build(params, arm.method, policy.proxy, data.classes, seed + PROXY) if policy.proxy else None
    online = build(params, arm.method, policy.online, data.classes, seed + ONLINE) if policy.online else None
    step = step_flops(objective, recipe, policy, data, proxy, reference, online)
    steps, by = steps_within(params.pretrain.budget, curated + share, step), "budget"
    if policy.scorer == "replay":
        replay = Replay(policy, recipe, data, replayed(ROOT / arm.after, data.uids), seed)
        selector: Selector = replay
        steps, by = min((steps, by), (replay.steps, "examples"))
    else:
        scorer = Proxy(fabric, proxy, recipe, steps) if proxy else None
        if online:
            trusted = open_for(params, arm.method, arm.backbone, pool, uid_files.load(ROOT / "data/versions/reference/uids.npy"))
            reference = Online(Proxy(fabric, online, recipe, steps), trusted, recipe, policy, seed + ONLINE)
        selector = Selector(policy, recipe, data, reference, seed, scorer)
    loop = Loop(fabric, objective, data, recipe, selector, steps, seed)
    readings = Readings(stage, fabric, pool, objective, curated + share, step, steps)
    checkpoint = Checkpoint(_key(stage, arm, curated + share), params.run.checkpoint_seconds)
    state = loop.run(readings.watch, lambda s: stage.track(s, description=stage.address), checkpoint)
    readings.write(state)
    save_encoder(stage.work, objective.exported(), params.backbones[arm.backbone])
    _write_trace(stage, data, state)
    _record(stage, state, {"curate": curated, "reference": share}, step, len(data), by)
    stage.metrics.update(readings.last())
    if data.pixels.lost:
        stage.metrics["lost"] = sorted(data.pixels.lost)
    checkpoint.remove()


def _arm(stage: Stage) -> Arm:
    if stage.arm is None:
        raise ValueError(f"{stage.name}: --arm is missing; allowed: {', '.join(stage.params.arms)}")
    return stage.params.arms[stage.arm]


def _version(arm: Arm) -> Path:
    """The folder of the version that the arm trains on."""
    return ROOT / "data/versions" / arm.version


def _curated(stage: Stage, arm: Arm) -> int:
    """The arm's share of the FLOPs that making its version took."""
    return int(stage.params.pretrain.curation_share * _making(arm)["curate"])


def _making(arm: Arm) -> dict[str, Any]:
    """What making the arm's version took: `curate` FLOPs, of which `references` of this run took some by their training."""
    made: dict[str, Any] = json.loads((_version(arm) / "flops.json").read_text(encoding="utf-8"))
    return made


def _reference(stage: Stage, arm: Arm, data: Examples) -> tuple[int, Reference | None]:
    """The arm's share of the reference's FLOPs, and the reference, where the policy uses it.

    Training that made the arm's version too is paid for once, with the larger of the two shares.
    """
    policy = stage.params.policies[arm.policy]
    if not needs_reference(policy):
        return 0, None
    kept = methods.load(reference_method(arm)).Method.PAIR
    pairs = policy.sampler == "joint" or compares(policy, kept)
    share, reference = open_reference(stage.params, arm, data.uids, data.classes, pairs, needs_twin(policy))
    common = _making(arm).get("references", {}).get(reference_method(arm), 0)
    return share - int(min(stage.params.pretrain.curation_share, stage.params.pretrain.reference_share) * common), reference


class Readings:
    """curve.csv: at evenly spaced steps, FLOPs spent, mean training loss since the last reading, and top-1 on val.

    `val_top1` is a kNN vote on the encoder's features, the same for every method; `own_top1` is the method's own classifier's,
    where it has one; a method of images and captions adds retrieval and zero-shot (stages/training/retrieval.py), and reads them
    once more from the test split at the end.
    """

    def __init__(self, stage: Stage, fabric: Fabric, pool: Pool, objective: Objective, share: int, step: StepFlops, steps: int) -> None:
        self.stage, self.fabric, self.objective = stage, fabric, objective
        self.share, self.step = share, step
        readings = min(stage.params.pretrain.evaluations, steps)
        self.due = {round((i + 1) * steps / readings) for i in range(readings)}
        size = stage.params.backbones[_arm(stage).backbone].image_size
        run = stage.params.run
        self.bank, self.val = open_split(pool, "probe", size, run, BANK), open_split(pool, "val", size, run)
        captioned = "captions" in objective.NEEDS
        self.names = pool.classes
        self.captioned = {name: self._captioned(pool, name) for name in ("val", "test")} if captioned else {}
        images = readings * (len(self.bank) + 2 * len(self.val)) + (len(self.captioned["test"]) if captioned else 0)
        stage.flops["evaluate"] = images * count(objective.exported(), (3, size, size)).forward

    def watch(self, state: State) -> None:
        if state.step not in self.due:
            return
        rows = state.watched.setdefault("curve", [])
        seen = sum(len(losses) for losses in state.trace["train_loss"])
        since = torch.cat(state.trace["train_loss"])[int(rows[-1]["examples_seen"]) if rows else 0 :]
        rows.append(
            {
                "step": state.step,
                "flops": self.share + state.step * self.step.total,
                "examples_seen": seen,
                "loss": round(float(since.mean()), 6),
                "val_top1": round(self._val_top1(), 6),
                **self._own(),
            }
        )
        self.write(state)

    def write(self, state: State) -> None:
        """curve.csv: after each reading, and after a run that was resumed behind the last."""
        rows = state.watched["curve"]
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (self.stage.work / "curve.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _val_top1(self) -> float:
        encoder = self.objective.exported()
        bank, val = features(encoder, self.bank, self.fabric), features(encoder, self.val, self.fabric)
        return knn_top1(bank, self.bank.labels, val, self.val.labels)

    def _captioned(self, pool: Pool, split: str) -> Examples:
        """A split with its captions."""
        arm = _arm(self.stage)
        uids = self.val.uids if split == "val" else open_split(pool, split, self.val.pixels.size, self.stage.params.run).uids
        return open_for(self.stage.params, arm.method, arm.backbone, pool, uids)

    def last(self) -> dict[str, float | str]:
        """What is read once, when training is over."""
        if not self.captioned:
            return {}
        test = self.captioned["test"]
        found = retrieval(self.objective, test, self.names, self.fabric)
        protocol = (
            f"the {len(test)} test pictures against their own captions, each the nearest of all by cosine; a caption is found by its "
            f"words, whichever picture has them; zero-shot: the nearest of the {len(self.names)} class names"
        )
        return {**{f"test_{name}": value for name, value in found.items()}, "protocol": protocol}

    def _own(self) -> dict[str, float]:
        if self.captioned:
            return retrieval(self.objective, self.captioned["val"], self.names, self.fabric)
        if type(self.objective).classify is Objective.classify:
            return {}
        logits = outputs(self.objective, self.objective.classify, self.val, self.fabric)  # type: ignore[arg-type]
        return {"own_top1": top_k(logits, self.val.labels, 1)}


def _write_trace(stage: Stage, data: Examples, state: State) -> None:
    """trace.parquet: a row for each example trained on and for a sample of the rejected, step by step, those trained on first.

    Losses and scores are NaN where the policy has none; `rank` is the place of the score among the candidates, 0 the highest.
    """
    kinds = (False, True) if state.column("step", passed=True).numel() else (False,)
    rows = {name: np.concatenate([state.column(name, passed).numpy() for passed in kinds]) for name in COLUMNS}
    chosen = np.concatenate([np.full(len(state.column("step", passed)), not passed) for passed in kinds])
    order = np.lexsort((~chosen, rows["step"]))
    columns: dict[str, Any] = {"step": pa.array(rows["step"][order], pa.int32())}
    columns["uid"] = pa.array(data.uids).take(pa.array(rows["index"][order])).dictionary_encode()
    columns["selected"], columns["rank"] = pa.array(chosen[order]), pa.array(rows["rank"][order], pa.int32())
    for name in ("learner_loss", "reference_loss", "score", "train_loss"):
        columns[name] = pa.array(rows[name][order], pa.float32())
    pq.write_table(pa.table(columns), stage.work / "trace.parquet", compression="zstd")


def _record(stage: Stage, state: State, shares: dict[str, int], step: StepFlops, available: int, by: str) -> None:
    stage.flops["score"], stage.flops["train"] = state.step * step.score, state.step * step.train
    total = sum(shares.values()) + state.step * step.total
    indices = state.column("index")
    stage.metrics.update(
        steps=state.step,
        examples_seen=len(indices),
        distinct_examples=len(torch.unique(indices)),
        available_examples=available,
        budget=stage.params.pretrain.budget,
        stopped_by=by,
        flops={**shares, "score": stage.flops["score"], "train": stage.flops["train"], "total": total},
        loss=state.watched["curve"][-1]["loss"],
        **{name: value for name, value in state.watched["curve"][-1].items() if name not in ("step", "flops", "examples_seen", "loss")},
    )


def _key(stage: Stage, arm: Arm, charged: int) -> str:
    """What must be the same for a run to go on; `charged` before the first step decides how many steps there are."""
    params = stage.params
    settings = {
        "charged": charged,
        "stage": stage.address,
        "seed": params.seed,
        "run": params.run,
        "pretrain": params.pretrain,
        "arm": arm,
        "policy": params.policies[arm.policy],
        "method": params.methods[arm.method],
        "backbone": params.backbones[arm.backbone],
    }
    inputs = [ROOT / f"data/versions/{version}/uids.npy" for version in (arm.version, "reference")] + [ROOT / "data/pool/index.parquet"]
    losses = ROOT / MODELS / reference_method(arm) / "losses.parquet"
    read = [ROOT / arm.after, losses]
    return key(settings, inputs + [path for path in read if path.is_file()])


if __name__ == "__main__":
    main(pretrain)
