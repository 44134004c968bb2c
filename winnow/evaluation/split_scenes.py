"""Scenes of a task set's split: the same for every arm, and for tasks with the same canvas and objects."""

import torch

from winnow.config.schema import Params
from winnow.evaluation import scenes
from winnow.evaluation.features import open_split
from winnow.evaluation.scenes import Scenes
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import Pool
from winnow.training.device import generator


def check_objects(objects: list[int]) -> None:
    """Raise `ValueError` unless `objects` is [least, most]."""
    if len(objects) != 2 or objects[0] > objects[1]:
        allowed = "[least, most] with 1 <= least <= most"
        raise ValueError(f"objects: {objects} is wrong; allowed: {allowed}")


def make_scenes(
    workspace: Workspace,
    pool: Pool,
    task_set: str,
    split: str,
    count: int,
    canvas: int,
    objects: list[int],
    params: Params,
) -> Scenes:
    """`count` scenes of a split's images, in an order drawn from the seed.

    Args:
        canvas: the side in pixels; `objects` the least and most on it.

    Raises:
        ValueError: if an example has no label.
    """
    data = open_split(workspace, pool, task_set, split, scenes.side(canvas), params)
    least, most = objects
    name = ("detection", params.seed, split)
    chosen = torch.randperm(len(data), generator=generator(*name)).numpy()[: count * most]
    images, uids = data.pixels.get(chosen).numpy(), [data.uids[i] for i in chosen]
    labels = data.labels[torch.from_numpy(chosen)].tolist()
    source = scenes.Source(images, labels, uids, pool.classes)
    return scenes.compose(source, count, canvas, (least, most), *name)
