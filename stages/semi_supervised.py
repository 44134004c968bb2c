"""semi_supervised@ARM.SET: finetune the whole encoder on few labels, by default 1 % and 10 % of the probe
split.

The label lists are data/splits/SET/labels-FRACTION.npy (`curate.label_fractions`): class-balanced, the same
for every arm; or public ones (`lists`). With several draws each has its own labels, classifier and order.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models import methods
from models.encoders import normalisation
from winnow.config.bounds import bounded, known, one_of
from winnow.config.errors import ParamsError
from winnow.config.schema import Params
from winnow.evaluation.features import open_split, top_k, top_k_hits
from winnow.evaluation.finetuning import Recipe, finetune, network, network_flops
from winnow.evaluation.label_lists import LabelList, refuse_few, unlabelled
from winnow.evaluation.outcomes import FILE as OUTCOMES
from winnow.evaluation.outcomes import write_outcomes
from winnow.loading.examples import Examples, examples
from winnow.pipeline.stage import Stage, main
from winnow.pool.pool import Pool, open_set
from winnow.training.weights import load_encoder, load_projection

NEEDS = ("labels",)  # of every image of its task set
POOLED, PROJECTION = "pooled", "projection"
ON = {POOLED: "on the pooled features", PROJECTION: "on the second layer of the projection head"}


@dataclass
class Config:
    """`steps` holds a number of optimiser steps for each of `curate.label_fractions`, `lists` a folder of
    label lists for a task set that has its own.
    """

    steps: list[int] = bounded([100, 200], 1)
    batch_size: int = bounded(64, 2)
    optimiser: str = "adamw"
    lr: float = bounded(1e-3, above=0)
    weight_decay: float = bounded(0.05, 0)
    warmup: float = bounded(0.1, 0, below=1)
    classifier: str = one_of(POOLED, PROJECTION)
    draws: int = bounded(1, 1)
    lists: dict[str, str] = field(default_factory=dict)

    def recipe(self, steps: int) -> Recipe:
        return Recipe(steps, self.batch_size, self.optimiser, self.lr, self.weight_decay, self.warmup)


def check(params: Params, settings: Config) -> None:
    """Check that there are steps for each fraction of labels, such an optimiser, and sets for the lists.

    Raises:
        ParamsError: if not.
    """
    from timm.optim import list_optimizers

    fractions, steps = params.curate.label_fractions, settings.steps
    if len(fractions) != len(steps):
        given = f"{len(steps)} values for {len(fractions)} of curate.label_fractions"
        raise ParamsError(f"tasks.semi_supervised.steps: {given}; give one for each")
    for name, arm in params.arms.items():
        if settings.classifier == PROJECTION and not methods.has_projection(arm.method):
            raise ParamsError(no_head(name, arm.method))
    known("tasks.semi_supervised.optimiser", settings.optimiser, list_optimizers())
    for name in settings.lists:
        known("tasks.semi_supervised.lists", name, params.datasets.tasks)


def no_head(arm: str, method: str) -> str:
    """Why no classifier can stand on an arm's projection head."""
    given = f"tasks.semi_supervised.classifier: {PROJECTION}, but method {method} of arm {arm} has"
    return f"{given} no projection head of two layers; give {POOLED}, or other arms"


def semi_supervised(stage: Stage) -> None:
    """Finetune once per fraction of labels and draw, each time from the same encoder; report test top-1 and
    top-5.
    """
    params = stage.params
    settings: Config = stage.settings(Config)
    check(params, settings)
    pool = open_set(stage.workspace, params.datasets, stage.set)
    size = load_encoder(stage.workspace.arm(stage.arm))[1]
    test = open_split(stage.workspace, pool, stage.set, "test", size, params)
    protocols, outcomes = [], {}
    for fraction, steps in zip(params.curate.label_fractions, settings.steps, strict=True):
        name, found = f"{100 * fraction:g}pct", []
        for draw in range(settings.draws):
            labels = label_list(stage, settings, pool, fraction, draw)
            logits, said = measure(stage, settings, pool, labels, test, steps, draw)
            found.append((logits, said))
            print(f"{stage.address}: top-1 {top_k(logits, test.labels, 1):.4f} with {said} ({steps} steps)")
        report(stage, name, [logits for logits, _ in found], test.labels)
        hits = [top_k_hits(logits, test.labels, 1) for logits, _ in found]
        outcomes[f"top1_{name}"] = hits[0] if len(hits) == 1 else np.mean(hits, axis=0)
        protocols.append(f"{100 * fraction:g} % = {' and '.join(said for _, said in found)}, {steps} steps")
    write_outcomes(stage.work / OUTCOMES, test.uids, outcomes)
    draws = f", mean of {settings.draws} draws" if settings.draws > 1 else ""
    stage.metrics["protocol"] = (
        f"whole network finetuned with a new linear classifier {ON[settings.classifier]} "
        f"({'; '.join(protocols)}){draws}, {settings.recipe(1).text()}, crops (0.6, 1) and flips; last step "
        f"evaluated on {len(test)} test images, plain"
    )
    print(f"{stage.address}: {stage.metrics['protocol']}")


def label_list(stage: Stage, settings: Config, pool: Pool, fraction: float, draw: int) -> LabelList:
    """The labels of a draw, and their hash in the metrics."""
    where, folder = (stage.workspace, pool, stage.set), settings.lists.get(stage.set)
    if folder is None:
        labels = LabelList.drawn(*where, fraction, draw)
    else:
        labels = LabelList.read(*where, folder, fraction, draw)
    stage.metrics.setdefault("label_lists", {})[f"{fraction:g}-{draw}"] = labels.sha256
    return labels


def measure(
    stage: Stage, settings: Config, pool: Pool, labels: LabelList, test: Examples, steps: int, draw: int
) -> tuple[Tensor, str]:
    """Finetune on these labels: the logits of test, and what they were, in words."""
    params, folder = stage.params, stage.workspace.arm(stage.arm)
    encoder, size = load_encoder(folder)
    head = load_projection(folder) if settings.classifier == PROJECTION else None
    if settings.classifier == PROJECTION and head is None:
        raise ParamsError(no_head(stage.arm, params.arms[stage.arm].method))
    by = normalisation(encoder)
    labelled = examples(pool, labels.uids, size, params, frozenset(NEEDS), normalisation=by)
    refuse_few(labelled.labels, f"label list of {stage.set}")
    seed, recipe = 1_000_003 * params.seed + 700_000 + draw, settings.recipe(steps)
    objective = network(encoder, head, labelled.classes, seed)
    spent = network_flops(objective, recipe, labelled, len(labelled), len(test))
    stage.flops["evaluate"] = stage.flops.get("evaluate", 0) + spent
    shown = f"{stage.address} {len(labelled)} labels"
    bar = lambda steps: stage.track(steps, description=shown)  # noqa: E731
    logits = finetune(params.run, recipe, objective, labelled, test, seed, bar)
    said = f"{len(labelled)} labels (list {labels.sha256[:12]})"
    if labels.absent:
        said += f"; {labels.absent} names of the list are of no image here"
    return logits, said + unlabelled(labelled.labels, test.labels, "listed")


def report(stage: Stage, name: str, logits: list[Tensor], labels: Tensor) -> None:
    """Means over the draws, and what each draw gave where there are several."""
    for k in (1, 5):
        values = [top_k(one, labels, k) for one in logits]
        stage.metrics[f"top{k}_{name}"] = round(sum(values) / len(values), 6)
        if len(values) > 1 and k == 1:
            stage.metrics[f"top1_{name}_draws"] = values
            stage.metrics[f"top1_{name}_spread"] = round(float(torch.tensor(values).std()), 6)


if __name__ == "__main__":
    main(semi_supervised)
