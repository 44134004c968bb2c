"""reference: train a small model on the trusted reference version, and keep its loss on every example of the pool version.

One reference for each of `reference.methods`. The losses do not depend on the learner, so they are computed once here, in eval
mode, and never again; their FLOPs are part of the reference's cost.
"""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from torch import Tensor

from models.flops import count
from models.methods import Objective
from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.params import ROOT
from stages.stage import Stage, main, write_json
from stages.training.build import build, open_for
from stages.training.checkpoint import Checkpoint, key
from stages.training.device import generator, launch
from stages.training.examples import Examples
from stages.training.features import features, knn_top1, open_split
from stages.training.loop import Loop
from stages.training.selection import UNIFORM, Selector, example_losses
from stages.training.spend import forward_flops, step_flops
from stages.training.weights import save_encoder

CHUNK = 512  # examples scored at once; a contrastive loss depends on it, a learner's super-batch is of this order


def reference(stage: Stage) -> None:
    """Train and apply the reference of each method."""
    pool = Pool.open(ROOT / "data/pool")
    fabric = launch(stage.params.run)
    for method in stage.params.methods:
        folder = stage.work / "models" / method
        folder.mkdir(parents=True)
        summary: dict[str, object] = {"trained": False, "train_flops": 0, "score_flops": 0}
        if method in stage.params.reference.methods:
            summary = _one(stage, fabric, pool, method, folder)
        write_json(folder / "reference.json", summary)
    stage.flops["reference"] = sum(_spent(path) for path in stage.work.glob("models/*/reference.json"))


def _spent(path: Path) -> int:
    summary = json.loads(path.read_text())
    return int(summary["train_flops"] + summary["score_flops"])


def _one(stage: Stage, fabric: Fabric, pool: Pool, method: str, folder: Path) -> dict[str, object]:
    params = stage.params
    recipe, backbone = params.methods[method], params.reference.backbone
    trusted = open_for(params, method, backbone, pool, uid_files.load(ROOT / "data/versions/reference/uids.npy"))
    seed = 1_000_003 * params.seed + 500_000
    objective = build(params, method, backbone, trusted.classes, seed)
    step = step_flops(objective, recipe, UNIFORM, trusted)
    steps = max(1, params.reference.examples // recipe.batch_size)
    loop = Loop(fabric, objective, trusted, recipe, Selector(UNIFORM, recipe, trusted, None, seed), steps, seed)
    checkpoint = Checkpoint(_key(stage, method), params.run.checkpoint_seconds)
    loop.run(bar=lambda steps_: stage.track(steps_, description=f"reference {method}"), checkpoint=checkpoint)
    checkpoint.save(loop.saved())  # a finished reference is taken up again when only another method changed

    candidates = open_for(params, method, backbone, pool, uid_files.load(ROOT / "data/versions/pool/uids.npy"))
    losses = score(stage, fabric, objective, candidates, method, seed)
    table = pa.table({"uid": candidates.uids, "loss": pa.array(losses.numpy(), pa.float32())})
    pq.write_table(table, folder / "losses.parquet")
    save_encoder(folder, objective.exported(), params.backbones[backbone])
    save_file({k: v.detach().cpu().contiguous() for k, v in objective.state_dict().items()}, folder / "method.safetensors")
    top1 = _val_top1(stage, fabric, pool, objective, params.backbones[backbone].image_size)
    stage.metrics[method] = {"val_top1": top1, "steps": steps, "mean_pool_loss": float(losses.mean())}
    whole, rest = divmod(len(candidates), CHUNK)
    score_flops = whole * forward_flops(objective, recipe.score_views, CHUNK, candidates)
    score_flops += forward_flops(objective, recipe.score_views, rest, candidates) if rest else 0
    return {"trained": True, "train_flops": steps * step.train, "score_flops": score_flops}


def score(stage: Stage, fabric: Fabric, objective: Objective, data: Examples, method: str, seed: int) -> Tensor:
    """The reference's loss on each of n examples, (n,), in chunks of a fixed size and order."""
    views = stage.params.methods[method].score_views
    losses = []
    starts = range(0, len(data), CHUNK)
    for start in stage.track(starts, total=len(starts), description=f"reference {method}: losses of the pool"):
        indices = np.arange(start, min(start + CHUNK, len(data)))
        batch = data.batch(indices, data.pixels.get(indices), views, generator(seed, "score", start), fabric.device)
        with fabric.autocast():
            losses.append(example_losses(objective, batch))
    out = torch.cat(losses)
    if not torch.isfinite(out).all():
        raise ValueError(f"reference of {method}: {int((~torch.isfinite(out)).sum())} losses are not finite; lower its lr")
    return out


def _key(stage: Stage, method: str) -> str:
    settings = {
        "stage": f"reference {method}",
        "seed": stage.params.seed,
        "run": stage.params.run,
        "reference": {"backbone": stage.params.reference.backbone, "examples": stage.params.reference.examples},
        "backbone": stage.params.backbones[stage.params.reference.backbone],
        "method": stage.params.methods[method],
    }
    return key(settings, [ROOT / "data/versions/reference/uids.npy", ROOT / "data/pool/index.parquet"])


def _val_top1(stage: Stage, fabric: Fabric, pool: Pool, objective: Objective, size: int) -> float:
    bank, val = (open_split(pool, name, size, stage.params.run) for name in ("probe", "val"))
    stage.flops["evaluate"] = stage.flops.get("evaluate", 0)
    stage.flops["evaluate"] += count(objective.exported(), (3, size, size)).forward * (len(bank) + len(val))
    encoder = objective.exported()
    return knn_top1(features(encoder, bank, fabric), bank.labels, features(encoder, val, fabric), val.labels)


if __name__ == "__main__":
    main(reference)
