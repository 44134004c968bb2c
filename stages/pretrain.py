"""pretrain@ARM: pretrain one learner under one policy until its budget of FLOPs, time or energy is spent.

The learner is new, or starts from weights; a frozen arm exports what it starts from, and trains nothing.
Charged to the budget: the arm's share of its version's curation, its share of the reference (if its criterion
needs one) and of the arm whose encoder it starts from, scoring, and training. Readings on the val split and
downstream tasks cost every arm the same; they are recorded, and not charged.
"""

from dataclasses import asdict
from typing import Any

import torch

from models.encoders import OWN
from winnow.config.budget import ENERGY, limits
from winnow.config.derive import parts
from winnow.config.derived import NOTHING
from winnow.config.schema import REFERENCE, Arm
from winnow.config.starts import arm_budget
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
from winnow.training.initial_weights import InitialWeights
from winnow.training.loop import COLUMNS, Loop, State
from winnow.training.pace import Reading
from winnow.training.schedule import recipe_of
from winnow.training.weights import save_encoder, save_heads


def pretrain(stage: Stage) -> None:
    """Train the arm's learner; write its encoder, heads, trace and curve."""
    params, workspace = stage.params, stage.workspace
    arm = params.arms[stage.key]
    recipe, seed = recipe_of(params, arm.method, arm.backbone), arm_seed(params, arm)
    check_fit(params, arm)
    start = _start(stage, arm)
    by, load = (start.normalisation, start.load) if start else (OWN, None)
    pool, fabric = open_pool(workspace, params.datasets), launch(params.run)
    uids = arm_uids(arm, workspace)
    data = open_for(params, arm.method, arm.backbone, pool, uids, normalisation=by)
    objective = build(params, arm.method, arm.backbone, data.classes, seed, load)
    meter = None if arm.frozen else _meter(stage)
    selection = build_selection(params, arm, workspace, fabric, objective, data, meter)
    readings = Readings(params, arm, workspace, fabric, objective, selection, data, stage.work)
    key = _key(stage, arm, selection, pool)
    checkpoint = Checkpoint(workspace.checkpoints, key, params.engine.checkpoint_seconds)
    attempts = stage.charge_attempts(checkpoint.path)
    if arm.frozen:
        fabric.to_device(objective)
        state = readings.only()
    else:
        loop = Loop(fabric, objective, data, recipe, selection.selector, selection.length, seed)
        state = loop.run(readings.watch, lambda steps: stage.track(steps), checkpoint)
        if loop.resumed and not attempts.earlier:  # whose record was deleted, or damaged
            stage.facts |= UNMEASURED
    readings.write(state)
    save_encoder(stage.work, objective.exported(), params.backbones[arm.backbone])
    save_heads(stage.work, objective)
    trained, rejected = ({n: state.column(n, r).numpy() for n in COLUMNS} for r in (False, True))
    write_trace(stage.work / FILE, data.uids, trained, rejected)
    _record(stage, state, selection, len(data))
    stage.flops["evaluate"] = readings.flops
    if data.pixels.lost:
        stage.metrics["lost"] = sorted(data.pixels.lost)
    if start:
        stage.metrics["weights"] = stage.facts["weights"] = start.record(workspace.root, arm.dvc)
    checkpoint.remove()


def _meter(stage: Stage) -> Reading:
    """Reads what this stage has spent, earlier attempts included, in the units of a budget of time or energy.

    Raises:
        ValueError: before anything is trained, if the budget is one of energy and nothing measures that here.
    """
    energy = [unit for unit in limits(stage.params.pretrain.budget) if unit in ENERGY]
    if energy and not (stage.meter.works() and stage.meter.first_reading().kwh):
        lacks = f"pretrain.budget.{energy[0]}: the energy of this machine cannot be measured"
        raise ValueError(f"{lacks}; give flops or seconds")

    def spent() -> dict[str, float]:
        now = stage.spent()
        if energy and (now.kwh is None or now.gco2e is None):
            raise ValueError(
                f"pretrain.budget.{energy[0]}: nobody knows what an interrupted attempt spent; delete its "
                f"checkpoint, {stage.workspace.checkpoints}, to begin anew"
            )
        return {"seconds": now.seconds, "kwh": now.kwh or 0.0, "gco2e": now.gco2e or 0.0}

    return spent


def _start(stage: Stage, arm: Arm) -> InitialWeights | None:
    """The weights that the arm starts from, if any."""
    backbone = stage.params.backbones[arm.backbone]
    if not backbone.weights:
        return None
    start = InitialWeights.open(stage.workspace.root, f"backbones.{arm.backbone}", backbone, arm.dvc)
    print(f"{stage.address}: {start.text()}", flush=True)
    return start


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
        budget=arm_budget(stage.params, stage.params.arms[stage.key]),
        stopped_by=selection.ended_by,
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
    if arm.dvc.weights != NOTHING:
        named = (arm.dvc.weights, arm.dvc.weights_config)
        files += [workspace.root / name for name in named if name != NOTHING]
    if arm.dvc.reference != NOTHING:
        files.append(workspace.root / arm.dvc.reference / LOSSES)
    methods = {f"models.methods.{name}" for name in (arm.method, arm.reference_method or arm.method)}
    code = ("stages.pretrain", f"models.criteria.{arm.dvc.criterion}", *sorted(methods))
    return checkpoint_key(settings, files, *code)


if __name__ == "__main__":
    main(pretrain)
