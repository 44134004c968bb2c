"""reference: train a small model on the trusted reference version, or on a mixture of it and the pool;
compute its loss on the pool version.

One reference for each of `reference.methods`. When only one method changed, the others are taken from their
checkpoints.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
from lightning_fabric import Fabric

from models import methods
from models.flops import count
from models.methods import Objective
from winnow.config.derived import NOTHING
from winnow.config.schema import POOL, REFERENCE
from winnow.evaluation.features import features, knn_top1, open_split
from winnow.loading.examples import Examples
from winnow.loading.sampler import counts_of
from winnow.pipeline.attempts import Attempts, spent_file
from winnow.pipeline.files import write_json
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool, open_pool, open_set
from winnow.preflight import check_plugins
from winnow.selection.mixture import Mixture
from winnow.selection.reference_record import POOL_MODEL, WHOLE, Judged, Record, write_record
from winnow.selection.train_reference import CHUNK, judge, open_finished, reference_steps, train_reference
from winnow.training.build import open_for
from winnow.training.checkpoint import Checkpoint, checkpoint_key
from winnow.training.device import launch
from winnow.versions.classes import check_meet


def reference(stage: Stage) -> None:
    """Train and apply the reference of each method."""
    pool, fabric = open_pool(stage.workspace, stage.params.datasets), launch(stage.params.run)
    # Written even if it is empty, because DVC requires the folder, and an experiment may need no reference.
    write_json(stage.work / "models/methods.json", {"methods": stage.params.reference.methods})
    stage.charge_attempts(_attempt(stage, pool))
    for method in stage.params.reference.methods:
        _one(stage, fabric, pool, method, stage.work / "models" / method)


def _one(stage: Stage, fabric: Fabric, pool: Pool, method: str, folder: Path) -> None:
    trusted, candidates = (_open(stage, pool, method, version) for version in (REFERENCE, POOL))
    if "labels" in methods.load(method).Method.NEEDS:
        check_meet(pool, method)
    both, mixture = _with_pool(stage, pool, method)
    objective, trained = _model(stage, fabric, method, both or trusted, WHOLE, mixture)
    judged, scored = _judge(stage, fabric, objective, candidates, method)
    flops = {"train": trained, "score": scored}
    pool_model = None
    if stage.params.reference.pool_model:
        other, flops["pool_model_train"] = _model(stage, fabric, method, candidates, POOL_MODEL)
        judged_by_other, flops["pool_model_score"] = _judge(stage, fabric, other, candidates, method)
        pool_model = other, judged_by_other
    record = Record.of(stage.params, method, candidates.classes, flops)
    write_record(folder, record, objective, candidates.uids, judged, pool_model)
    stage.flops["reference"] = stage.flops.get("reference", 0) + sum(flops.values())
    top1 = _val_top1(stage, fabric, objective)
    loss, steps = float(judged.losses.mean()), reference_steps(stage.params, method)
    stage.metrics[method] = {"val_top1": top1, "steps": steps, "mean_pool_loss": loss}


def _open(stage: Stage, pool: Pool, method: str, version: str) -> Examples:
    uids = uid_files.load(stage.workspace.uids(version))
    return open_for(stage.params, method, str(stage.params.reference.backbone), pool, uids)


def _with_pool(stage: Stage, pool: Pool, method: str) -> tuple[Examples | None, Mixture | None]:
    """The trusted examples and the pool's, and their shares, where a reference is trained on both."""
    share = stage.params.reference.pool_share
    if not share:
        return None, None
    members = [set(uid_files.load(stage.workspace.uids(version))) for version in (REFERENCE, POOL)]
    uids = sorted(members[0] | members[1])
    place = {uid: index for index, uid in enumerate(uids)}
    indices = [np.array(sorted(place[uid] for uid in some), np.int64) for some in members]
    counts = counts_of(stage.params.methods[method].batch_size, [1 - share, share])
    data = open_for(stage.params, method, str(stage.params.reference.backbone), pool, uids)
    return data, Mixture(indices, counts)


def _model(
    stage: Stage,
    fabric: Fabric,
    method: str,
    data: Examples,
    name: str,
    mixture: Mixture | None = None,
) -> tuple[Objective, int]:
    """A model and the FLOPs of its training, trained on `data` now or a finished one of another run."""
    finished = stage.params.reference.dvc.finished
    if finished != NOTHING:
        expected = Record.of(stage.params, method, data.classes, {})
        return open_finished(stage.workspace.root / finished / method, name, fabric, expected)
    key = _key(stage, method, name, data.pixels.pool)
    checkpoint = Checkpoint(stage.workspace.checkpoints, key, stage.params.engine.checkpoint_seconds)

    def bar(steps: Iterable[int]) -> Iterator[int]:
        return stage.track(steps, description=f"{Path(name).stem} of {method}")

    part = Attempts(spent_file(checkpoint.path), stage.meter, part=True)
    loop, spent = train_reference(stage.params, fabric, method, data, bar, checkpoint, mixture)
    checkpoint.save(loop.saved())
    part.close()  # and stays, for it is charged whenever the model is taken from its checkpoint
    if loop.resumed:
        stage.charge_part(part)
    return loop.objective, spent


def _judge(
    stage: Stage, fabric: Fabric, objective: Objective, data: Examples, method: str
) -> tuple[Judged, int]:
    def bar(starts: Iterable[int]) -> Iterator[int]:
        total, what = -(-len(data) // CHUNK), f"{method}: losses of the pool"
        return stage.track(starts, total=total, description=what, unit="img", per=CHUNK)

    return judge(stage.params, fabric, objective, data, method, bar)


def _key(stage: Stage, method: str, name: str, pool: Pool) -> str:
    params = stage.params
    settings = {
        "stage": f"{name} {method}",
        "seed": params.seed,
        "run": asdict(params.run),
        "examples": params.reference.examples,
        "pool_share": params.reference.pool_share,
        "backbone": asdict(params.backbones[str(params.reference.backbone)]),
        "method": asdict(params.methods[method]),
    }
    version = REFERENCE if name == WHOLE else POOL
    versions = [version, POOL] if name == WHOLE and params.reference.pool_share else [version]
    files = [*(stage.workspace.uids(one) for one in versions), *pool.index_files]
    code = "winnow.selection.train_reference", f"models.methods.{method}", "models.criteria.uniform"
    return checkpoint_key(settings, files, *code)


def _attempt(stage: Stage, pool: Pool) -> Path:
    """What names all that the stage does, for the record of its attempts."""
    names = (WHOLE, POOL_MODEL) if stage.params.reference.pool_model else (WHOLE,)
    models = [_key(stage, method, name, pool) for method in stage.params.reference.methods for name in names]
    settings = {"stage": "reference", "models": models, "finished": stage.params.reference.finished}
    return stage.workspace.checkpoints / checkpoint_key(settings, [stage.workspace.uids(POOL)])


def _val_top1(stage: Stage, fabric: Fabric, objective: Objective) -> float | None:
    """kNN top-1 on the task set of the readings; None where there is none."""
    params, workspace = stage.params, stage.workspace
    task_set = params.pretrain.dvc.set
    if task_set is None:
        return None
    pool = open_set(workspace, params.datasets, task_set)
    size = params.backbones[str(params.reference.backbone)].image_size
    bank, val = (open_split(workspace, pool, task_set, name, size, params) for name in ("probe", "val"))
    if not len(val):
        return None
    encoder = objective.exported()
    each = count(encoder, (3, size, size)).forward
    stage.flops["evaluate"] = stage.flops.get("evaluate", 0) + each * (len(bank) + len(val))
    return knn_top1(features(encoder, bank, fabric), bank.labels, features(encoder, val, fabric), val.labels)


if __name__ == "__main__":
    main(reference, check_plugins)
