"""Train a small model on the trusted version, and compute its loss on every example of the pool version.

The losses do not depend on the learner, so they are computed once, in eval mode; their FLOPs are part of the
reference's cost.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor

from models.methods import Batch, Objective
from winnow.config.schema import Params
from winnow.loading.examples import Examples
from winnow.selection.cost import forward_flops, step_flops
from winnow.selection.mixture import Mixture
from winnow.selection.policy import UNIFORM, Views
from winnow.selection.reference_record import PURPOSES, Judged, Record, open_objective
from winnow.selection.scorers import per_example_loss, scored
from winnow.selection.selector import Selector
from winnow.training.build import build
from winnow.training.checkpoint import Checkpoint
from winnow.training.device import generator
from winnow.training.loop import Loop
from winnow.training.nonfinite import refuse_nonfinite
from winnow.training.schedule import from_scratch

Bar = Callable[[Iterable[int]], Iterator[int]]
CHUNK = 512  # examples scored at once: a contrastive loss depends on it; about a learner's super-batch


def reference_steps(params: Params, method: str) -> int:
    """How many steps a reference of the method is trained for."""
    return max(1, params.reference.examples // params.methods[method].batch_size)


def reference_seed(params: Params) -> int:
    return 1_000_003 * params.seed + 500_000


def train_reference(
    params: Params,
    fabric: Fabric,
    method: str,
    data: Examples,
    bar: Bar = iter,
    checkpoint: Checkpoint | None = None,
    mixture: Mixture | None = None,
) -> tuple[Loop, int]:
    """Train a small model of the method on `data`, uniformly: its finished loop, and its FLOPs.

    Args:
        mixture: of the trusted examples and the pool's, where it is trained on both.
    """
    recipe, seed = from_scratch(params.methods[method]), reference_seed(params)
    objective = build(params, method, str(params.reference.backbone), data.classes, seed)
    step, steps = step_flops(objective, recipe, UNIFORM, data), reference_steps(params, method)
    selector = Selector(UNIFORM, recipe, data, None, seed, mixture=mixture)
    loop = Loop(fabric, objective, data, recipe, selector, steps, seed)
    loop.run(bar=bar, checkpoint=checkpoint)
    return loop, steps * step.train


def open_finished(folder: Path, name: str, fabric: Fabric, expected: Record) -> tuple[Objective, int]:
    """A model of another run, from its folder, and the FLOPs of its training there.

    Args:
        name: the file of its weights, `WHOLE` or `POOL_MODEL`.
        expected: what this run would build, apart from FLOPs.

    Raises:
        ValueError: if there is none, or it differs from what this run would build.
    """
    record, key = Record.read(folder), f"reference.finished: {folder}"
    purpose = PURPOSES[name]
    if purpose not in record.flops:
        raise ValueError(f"{key} has no pool model; take another run's, or set reference.pool_model to false")
    if difference := record.difference(expected):
        raise ValueError(f"{key} {difference}; take another run's, or null to train one here")
    objective = open_objective(folder, record, name)
    fabric.to_device(objective)
    return objective, record.flops[purpose]


def judge(
    params: Params, fabric: Fabric, objective: Objective, data: Examples, method: str, bar: Bar = iter
) -> tuple[Judged, int]:
    """The model's losses on n examples, computed in chunks of a fixed size and order, and their FLOPs.

    Where the method has pairs the embeddings of both sides come with them, so that pairs need no further
    forward.

    Raises:
        TableError: naming the examples whose loss is not finite.
    """
    views, seed = params.methods[method].score_views, reference_seed(params)
    losses, sides = [], []
    fill = _fill(objective, len(data))
    for start in bar(range(0, len(data), CHUNK)):
        again = fill if start + CHUNK > len(data) else 0
        indices = np.arange(start - again, min(start + CHUNK, len(data)))
        images, noise = data.pixels.get(indices), generator(seed, "score", start)
        batch = data.batch(indices, images, views, noise, fabric.device)
        with fabric.autocast():
            if objective.PAIR:
                one, embedded = _embedded(objective, batch)
                sides.append((embedded[0][again:], embedded[1][again:]))
            else:
                one = scored(objective, batch).example
        losses.append(one[again:])
    out = torch.cat(losses)
    what, mend = f"reference of {method}: {{count}} losses are", f"lower methods.{method}.lr"
    refuse_nonfinite(out, data.uids, {"reference_loss": out}, what, mend)
    both = (torch.cat([s[0] for s in sides]), torch.cat([s[1] for s in sides])) if sides else None
    return Judged(out, both), _judging_flops(objective, views, data, fill)


def _judging_flops(objective: Objective, views: Views, data: Examples, fill: int) -> int:
    whole, rest = divmod(len(data) + fill, CHUNK)
    spent = whole * forward_flops(objective, views, CHUNK, data)
    return spent + (forward_flops(objective, views, rest, data) if rest else 0)


def _fill(objective: Objective, count: int) -> int:
    """How many examples before the last chunk fill it up, where a loss depends on the chunk's size."""
    if objective.PAIR != "softmax" or count % CHUNK == 0:
        return 0
    return max(0, min(CHUNK, count) - count % CHUNK)


@torch.no_grad()
def _embedded(objective: Objective, batch: Batch) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    objective.eval()
    first, second = objective.embed(batch)
    example = per_example_loss(objective, objective.compare(first, second)).float().cpu()
    return example, (first.float().cpu().clone(), second.float().cpu().clone())
