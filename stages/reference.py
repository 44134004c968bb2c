"""reference: train a small model on the trusted reference version, and keep its loss on every example of the pool version.

One reference for each of `reference.methods`. The losses do not depend on the learner, so they are computed once here, in eval
mode, and never again; their FLOPs are part of the reference's cost.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from models.flops import count
from models.methods import Batch, Objective
from stages.data import uids as uid_files
from stages.data.pool import Pool
from stages.params import ROOT, UNTRAINED, Params
from stages.stage import Stage, main, write_json
from stages.training import unfinite
from stages.training.build import build, open_for
from stages.training.checkpoint import Checkpoint, key
from stages.training.device import generator, launch
from stages.training.examples import Examples
from stages.training.features import features, knn_top1, open_split
from stages.training.loop import Loop
from stages.training.scorers import own, scored
from stages.training.selection import UNIFORM, Selector
from stages.training.spend import forward_flops, step_flops
from stages.training.weights import save_encoder

SPENT = {"reference": "train_flops", "twin": "twin_train_flops"}
FILES = {"reference": "method.safetensors", "twin": "twin.safetensors"}
Bar = Callable[[Iterable[int]], Iterator[int]]
CHUNK = 512  # examples scored at once; a contrastive loss depends on it, a learner's super-batch is of this order


def reference(stage: Stage) -> None:
    """Train and apply the reference of each method."""
    pool = Pool.open(ROOT / "data/pool")
    fabric = launch(stage.params.run)
    for method in stage.params.methods:
        folder = stage.work / "models" / method
        folder.mkdir(parents=True)
        summary: dict[str, object] = {"trained": False}
        if method in stage.params.reference.methods:
            summary = _one(stage, fabric, pool, method, folder)
        write_json(folder / "reference.json", summary)
    stage.flops["reference"] = sum(_spent(path) for path in stage.work.glob("models/*/reference.json"))


def _spent(path: Path) -> int:
    return sum(value for key_, value in json.loads(path.read_text()).items() if key_.endswith("_flops"))


def _one(stage: Stage, fabric: Fabric, pool: Pool, method: str, folder: Path) -> dict[str, object]:
    params = stage.params
    backbone = params.backbones[params.reference.backbone]
    trusted, candidates = (_open(stage, pool, method, version) for version in ("reference", "pool"))
    objective, spent = _model(stage, fabric, method, trusted, "reference")
    losses, sides, cost = _score(stage, fabric, objective, candidates, method)
    charged = {"train_flops": spent, "score_flops": cost}
    columns = {"uid": candidates.uids, "loss": pa.array(losses.numpy(), pa.float32())}
    if params.reference.twin:
        twin, more = _model(stage, fabric, method, candidates, "twin")
        values, _, again = _score(stage, fabric, twin, candidates, method)
        columns["twin_loss"] = pa.array(values.numpy(), pa.float32())
        _save(twin, folder / FILES["twin"])
        charged.update(twin_train_flops=more, twin_score_flops=again)
    pq.write_table(pa.table(columns), folder / "losses.parquet")
    if sides is not None:
        save_file({"first": sides[0], "second": sides[1]}, folder / "embeddings.safetensors")
    save_encoder(folder, objective.exported(), backbone)
    _save(objective, folder / FILES["reference"])
    top1 = _val_top1(stage, fabric, pool, objective, backbone.image_size)
    stage.metrics[method] = {"val_top1": top1, "steps": steps(stage.params, method), "mean_pool_loss": float(losses.mean())}
    return {"trained": True, **charged}


def _open(stage: Stage, pool: Pool, method: str, version: str) -> Examples:
    uids = uid_files.load(ROOT / "data/versions" / version / "uids.npy")
    return open_for(stage.params, method, stage.params.reference.backbone, pool, uids)


def steps(params: Params, method: str) -> int:
    """How many steps a reference of the method is trained for."""
    return max(1, params.reference.examples // params.methods[method].batch_size)


def _seed(params: Params) -> int:
    return 1_000_003 * params.seed + 500_000


def _save(objective: Objective, path: Path) -> None:
    save_file({k: v.detach().cpu().contiguous() for k, v in objective.state_dict().items()}, path)


def _model(stage: Stage, fabric: Fabric, method: str, data: Examples, name: str) -> tuple[Objective, int]:
    """A trained model, and the FLOPs that it took: trained on `data` now, or a finished one."""
    if stage.params.reference.after == UNTRAINED:
        return _train(stage, fabric, method, data, name)
    return finished(stage.params, fabric, method, data.classes, name)


def finished(params: Params, fabric: Fabric, method: str, classes: int, name: str) -> tuple[Objective, int]:
    """A model of another run, from the folder `reference.after`, and the FLOPs that its training took there.

    Args:
        name: "reference" or "twin".

    Raises:
        ValueError: if there is none, or it does not fit the backbone, the method's settings or the classes.
    """
    path = ROOT / params.reference.after / method / FILES[name]
    objective = build(params, method, params.reference.backbone, classes, _seed(params))
    try:
        objective.load_state_dict(load_file(path))
        spent = int(json.loads((path.parent / "reference.json").read_text(encoding="utf-8"))[SPENT[name]])
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"reference.after: {path} is no finished {name} ({error}); take another run's results/reference/models"
        ) from None
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"reference.after: {path} fits neither this backbone, method nor number of classes: {reason}") from None
    fabric.to_device(objective)
    return objective, spent


def _train(stage: Stage, fabric: Fabric, method: str, data: Examples, name: str) -> tuple[Objective, int]:
    checkpoint = Checkpoint(_key(stage, method, name), stage.params.run.checkpoint_seconds)

    def bar(numbers: Iterable[int]) -> Iterator[int]:
        return stage.track(numbers, description=f"{name} {method}")

    loop, spent = train(stage.params, fabric, method, data, bar, checkpoint)
    checkpoint.save(loop.saved())  # a finished reference is taken up again when only another method changed
    return loop.objective, spent


def train(
    params: Params, fabric: Fabric, method: str, data: Examples, bar: Bar = iter, checkpoint: Checkpoint | None = None
) -> tuple[Loop, int]:
    """A small model of the method trained on `data`, uniformly: its finished loop, and its FLOPs."""
    recipe, seed = params.methods[method], _seed(params)
    objective = build(params, method, params.reference.backbone, data.classes, seed)
    step, count_ = step_flops(objective, recipe, UNIFORM, data), steps(params, method)
    loop = Loop(fabric, objective, data, recipe, Selector(UNIFORM, recipe, data, None, seed), count_, seed)
    loop.run(bar=bar, checkpoint=checkpoint)
    return loop, count_ * step.train


def _score(
    stage: Stage, fabric: Fabric, objective: Objective, data: Examples, method: str
) -> tuple[Tensor, tuple[Tensor, Tensor] | None, int]:
    def bar(starts: Iterable[int]) -> Iterator[int]:
        return stage.track(starts, total=-(-len(data) // CHUNK), description=f"{method}: losses of the pool")

    return score(stage.params, fabric, objective, data, method, bar)


def score(
    params: Params, fabric: Fabric, objective: Objective, data: Examples, method: str, bar: Bar = iter
) -> tuple[Tensor, tuple[Tensor, Tensor] | None, int]:
    """The model's loss on each of n examples, (n,), in chunks of a fixed size and order; embeddings (n, E) of both sides where the
    method has pairs, kept as float32, so that no pair is ever computed by the towers again; and the FLOPs.

    Raises:
        ValueError: naming the examples whose loss is not finite.
    """
    views, seed = params.methods[method].score_views, _seed(params)
    losses, sides = [], []
    # A softmax over pairs gives less loss among fewer, so there the last chunk is filled up with examples that were scored before.
    fill = max(0, min(CHUNK, len(data)) - len(data) % CHUNK) if objective.PAIR == "softmax" and len(data) % CHUNK else 0
    for start in bar(range(0, len(data), CHUNK)):
        again = fill if start + CHUNK > len(data) else 0
        indices = np.arange(start - again, min(start + CHUNK, len(data)))
        batch = data.batch(indices, data.pixels.get(indices), views, generator(seed, "score", start), fabric.device)
        with fabric.autocast():
            if objective.PAIR:
                one, embedded = _embedded(objective, batch)
                sides.append((embedded[0][again:], embedded[1][again:]))
            else:
                one = scored(objective, batch).example
        losses.append(one[again:])
    whole, rest = divmod(len(data) + fill, CHUNK)
    spent = whole * forward_flops(objective, views, CHUNK, data) + (forward_flops(objective, views, rest, data) if rest else 0)
    out = torch.cat(losses)
    unfinite.refuse(
        out, data.uids, {"reference_loss": out}, f"reference of {method}: {{count}} losses are", f"lower methods.{method}.lr"
    )
    both = (torch.cat([s[0] for s in sides]), torch.cat([s[1] for s in sides])) if sides else None
    return out, both, spent


@torch.no_grad()
def _embedded(objective: Objective, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    objective.eval()
    first, second = objective.embed(batch)
    losses = objective.compare(first, second)
    return own(objective, losses).float().cpu(), (first.float().cpu().clone(), second.float().cpu().clone())


def _key(stage: Stage, method: str, name: str) -> str:
    settings = {
        "stage": f"{name} {method}",
        "seed": stage.params.seed,
        "run": stage.params.run,
        "reference": {"backbone": stage.params.reference.backbone, "examples": stage.params.reference.examples},
        "backbone": stage.params.backbones[stage.params.reference.backbone],
        "method": stage.params.methods[method],
    }
    version = "reference" if name == "reference" else "pool"
    return key(settings, [ROOT / "data/versions" / version / "uids.npy", ROOT / "data/pool/index.parquet"])


def _val_top1(stage: Stage, fabric: Fabric, pool: Pool, objective: Objective, size: int) -> float:
    bank, val = (open_split(pool, name, size, stage.params.run) for name in ("probe", "val"))
    stage.flops["evaluate"] = stage.flops.get("evaluate", 0)
    stage.flops["evaluate"] += count(objective.exported(), (3, size, size)).forward * (len(bank) + len(val))
    encoder = objective.exported()
    return knn_top1(features(encoder, bank, fabric), bank.labels, features(encoder, val, fabric), val.labels)


if __name__ == "__main__":
    main(reference)
