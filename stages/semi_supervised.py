"""semi_supervised@ARM.SET: finetune the whole encoder on few labels, by default 1 % and 10 % of the probe
split.

The label lists are data/splits/SET/labels-FRACTION.npy (`curate.label_fractions`): class-balanced, the same
for every arm.
"""

from dataclasses import dataclass

import torch

from models.encoders import normalisation
from models.flops import count
from models.methods.supervised import Config as SupervisedConfig
from models.methods.supervised import Method as Supervised
from winnow.config.bounds import bounded
from winnow.config.errors import ParamsError
from winnow.config.schema import Method, Params, View
from winnow.evaluation.features import open_split, outputs, top_k, top_k_hits
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.loading.examples import Examples, examples
from winnow.pipeline.stage import Stage, main
from winnow.pool import uids as uid_files
from winnow.pool.pool import open_set
from winnow.selection.cost import step_flops
from winnow.selection.policy import UNIFORM
from winnow.selection.selector import Selector
from winnow.training.device import launch
from winnow.training.loop import Loop
from winnow.training.weights import load_encoder

NEEDS = ("labels",)  # of every image of its task set


@dataclass
class Config:
    """`steps` holds a number of optimiser steps for each of `curate.label_fractions`."""

    steps: list[int] = bounded([100, 200], 1)
    batch_size: int = bounded(64, 2)
    lr: float = bounded(1e-3, above=0)
    weight_decay: float = bounded(0.05, 0)


def check(params: Params, settings: Config) -> None:
    """Check that there are steps for each fraction of labels.

    Raises:
        ParamsError: if not.
    """
    fractions, steps = params.curate.label_fractions, settings.steps
    if len(fractions) != len(steps):
        given = f"{len(steps)} values for {len(fractions)} of curate.label_fractions"
        raise ParamsError(f"tasks.semi_supervised.steps: {given}; give one for each")


def semi_supervised(stage: Stage) -> None:
    """Finetune once per fraction of labels, each time from the same encoder; report test top-1 and top-5."""
    params, workspace = stage.params, stage.workspace
    settings: Config = stage.settings(Config)
    fractions = params.curate.label_fractions
    check(params, settings)
    pool, folder = open_set(workspace, params.datasets, stage.set), workspace.arm(stage.arm)
    size = load_encoder(folder)[1]
    test = open_split(workspace, pool, stage.set, "test", size, params)
    protocols, hits = [], {}
    for fraction, steps in zip(fractions, settings.steps, strict=True):
        encoder, _ = load_encoder(folder)
        uids = uid_files.load(workspace.split(stage.set, f"labels-{fraction:g}"))
        labels, by = frozenset({"labels"}), normalisation(encoder)
        labelled = examples(pool, uids, size, params, labels, normalisation=by)
        logits = finetune(stage, settings, encoder, labelled, test, steps)
        top1, name = top_k(logits, test.labels, 1), f"{100 * fraction:g}pct"
        stage.metrics[f"top1_{name}"], stage.metrics[f"top5_{name}"] = top1, top_k(logits, test.labels, 5)
        hits[f"top1_{name}"] = top_k_hits(logits, test.labels, 1)
        protocols.append(f"{100 * fraction:g} % = {len(uids)} labels, {steps} steps")
        print(f"{stage.address}: top-1 {top1:.4f} with {len(uids)} labels ({steps} steps)")
    write_outcomes(stage.work / OUTCOMES, test.uids, hits)
    stage.metrics["protocol"] = (
        f"whole network finetuned with a new linear head ({'; '.join(protocols)}), AdamW, "
        f"lr {settings.lr:g}, cosine, weight decay {settings.weight_decay:g}, batch {settings.batch_size}, "
        f"crops (0.6, 1) and flips; last step evaluated on {len(test)} test images, plain"
    )
    print(f"{stage.address}: {stage.metrics['protocol']}")


def finetune(
    stage: Stage, settings: Config, encoder: torch.nn.Module, labelled: Examples, test: Examples, steps: int
) -> torch.Tensor:
    """Train encoder and head on the labelled examples; the logits of test."""
    params = stage.params
    fabric, seed = launch(params.run), 1_000_003 * params.seed + 700_000
    recipe = Method(
        batch_size=min(settings.batch_size, len(labelled)),
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        views={"image": View(scale=[0.6, 1.0], flip=0.5)},
        score_views={"image": View()},
    )
    torch.manual_seed(seed)
    objective = Supervised(encoder, SupervisedConfig(), labelled.classes)
    cost = step_flops(objective, recipe, UNIFORM, labelled)
    selector = Selector(UNIFORM, recipe, labelled, None, seed)
    loop = Loop(fabric, objective, labelled, recipe, selector, steps, seed)
    loop.run(bar=lambda s: stage.track(s, description=f"{stage.address} {len(labelled)} labels"))
    logits = outputs(objective, objective.classify, test, fabric)
    size = test.pixels.size
    spent = steps * cost.train + len(test) * count(encoder, (3, size, size)).forward
    stage.flops["evaluate"] = stage.flops.get("evaluate", 0) + spent
    return logits


if __name__ == "__main__":
    main(semi_supervised)
