"""pretrain@ARM: pretrain one learner under one policy until its FLOP budget is spent.

Charged to the budget: the arm's share of its version's curation, its share of the reference (if its criterion
needs one), scoring, and training. Readings on the val split and downstream tasks cost every arm the same;
they are recorded, and not charged.
"""

from dataclasses import asdict
from typing import Any

import torch

from winnow.config.derive import parts
from winnow.config.derived import NOTHING
from winnow.config.schema import REFERENCE, Arm
from winnow.evaluation.readings import Readings
from winnow.ledger.cost import UNMEASURED
from winnow.pipeline.stage import Stage, main
from winnow.pool.pool import Pool, open_pool
from winnow.selection.build import Selection, arm_seed, arm_uids, build_selection
from winnow.selection.compatibility import check_fit
from winnow.selection.reference_record import LOSSES
from winnow.selection.trace import FILE, write_trace
from winnow.training.build import build, open_for
from winnow.training.checkpoint import Checkpoint, checkpoint_key
from winnow.training.device import launch
from winnow.training.loop import COLUMNS, Loop, State
from winnow.training.weights import save_encoder


def pretrain(stage: Stage) -> None:
    """Train the arm's learner; write its encoder, trace and curve."""
    params, workspace = stage.params, stage.workspace
    arm = params.arms[stage.key]
    recipe, seed = params.methods[arm.method], arm_seed(params, arm)
    check_fit(params, arm)
    pool, fabric = open_pool(workspace, params.datasets), launch(params.run)
    data = open_for(params, arm.method, arm.backbone, pool, arm_uids(arm, workspace))
    objective = build(params, arm.method, arm.backbone, data.classes, seed)
    selection = build_selection(params, arm, workspace, fabric, objective, data)
    loop = Loop(fabric, objective, data, recipe, selection.selector, selection.steps, seed)
    readings = Readings(params, arm, workspace, fabric, objective, selection, data, stage.work)
    key = _key(stage, arm, selection, pool)
    checkpoint = Checkpoint(workspace.checkpoints, key, params.engine.checkpoint_seconds)
    state = loop.run(readings.watch, lambda steps: stage.track(steps), checkpoint)
    readings.write(state)
    save_encoder(stage.work, objective.exported(), params.backbones[arm.backbone])
    trained, rejected = ({n: state.column(n, r).numpy() for n in COLUMNS} for r in (False, True))
    write_trace(stage.work / FILE, data.uids, trained, rejected)
    _record(stage, state, selection, len(data))
    stage.flops["evaluate"] = readings.flops
    stage.metrics.update(readings.last())
    if data.pixels.lost:
        stage.metrics["lost"] = sorted(data.pixels.lost)
    if loop.resumed:  # this run measured its last part only
        stage.facts |= UNMEASURED
    checkpoint.remove()


def _record(stage: Stage, state: State, selection: Selection, available: int) -> None:
    flops = selection.flops(state.step)
    stage.flops.update(score=flops["score"], train=flops["train"])
    indices, reading = state.column("index"), state.watched["curve"][-1]
    stage.metrics.update(
        {name: value for name, value in reading.items() if name not in ("step", "flops")},
        steps=state.step,
        examples_seen=len(indices),
        distinct_examples=len(torch.unique(indices)),
        available_examples=available,
        budget=stage.params.pretrain.budget,
        stopped_by=selection.stopped_by,
        flops=flops,
    )


def _key(stage: Stage, arm: Arm, selection: Selection, pool: Pool) -> str:
    """The key of all that a resumed run must share; what is charged first decides the number of steps."""
    params, workspace = stage.params, stage.workspace
    settings: dict[str, Any] = {
        "charged": selection.charge.total,
        "stage": stage.address,
        "seed": params.seed,
        "run": asdict(params.run),
        "pretrain": asdict(params.pretrain),
        "arm": asdict(arm),
        "policy": asdict(params.policies[arm.policy]),
        "method": asdict(params.methods[arm.method]),
        "backbone": asdict(params.backbones[arm.backbone]),
    }
    files = [
        *(workspace.uids(one) for one in parts(arm.version)),
        workspace.uids(REFERENCE),
        *pool.index_files,
    ]
    if arm.dvc.trace != NOTHING:
        files.append(workspace.root / arm.dvc.trace)
    if arm.dvc.reference != NOTHING:
        files.append(workspace.root / arm.dvc.reference / LOSSES)
    methods = {f"models.methods.{name}" for name in (arm.method, arm.reference_method or arm.method)}
    code = ("stages.pretrain", f"models.criteria.{arm.dvc.criterion}", *sorted(methods))
    return checkpoint_key(settings, files, *code)


if __name__ == "__main__":
    main(pretrain)
