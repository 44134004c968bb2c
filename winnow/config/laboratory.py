"""Keys of conf/ that params.yaml does not have: they stand for several entries of `datasets`.

dataset        a laboratory run: one source, which is the pool, and of which the reference and a task set
               are held out (`splits` says how much)
each_dataset   settings of every dataset of `datasets`, such as {limit: 2000}
"""

from typing import Any

from winnow.config.errors import ParamsError
from winnow.config.schema import POOL, REFERENCE, TASKS

LABORATORY = DATASET, EACH, PHOTOS = "dataset", "each_dataset", "photos"
TRUSTED, HELD_OUT = "trusted", "held_out"  # the names of what a laboratory run holds out
ALL_TASKS = ["linear_probe", "semi_supervised", "detection"]


def datasets_of(raw: dict[str, Any]) -> dict[str, Any]:
    """The same with `datasets` in the place of the shorthands.

    Raises:
        ParamsError: if both say what the pool is.
    """
    out = {key: value for key, value in raw.items() if key not in LABORATORY}
    one, each = raw.get(DATASET) or {}, raw.get(EACH) or {}
    datasets: dict[str, Any] = {
        role: dict(some) for role, some in (raw.get("datasets") or {}).items() if some
    }
    if one.get("source"):
        if datasets.get(POOL):
            names = ", ".join(datasets[POOL])
            raise ParamsError(
                f"datasets.pool: {names}, and dataset.source is {one['source']}; give dataset=none beside it"
            )
        datasets = _laboratory(one, datasets)
    elif each:
        for some in datasets.values():
            for name, block in some.items():
                some[name] = {**block, **({} if block.get("held_out_of") else each)}
    return out | {"datasets": datasets} if datasets else out


def _laboratory(one: dict[str, Any], datasets: dict[str, Any]) -> dict[str, Any]:
    """The pool, and what is held out of it, beside the datasets that are given already."""
    block = dict(one)
    splits, tasks = dict(block.pop("splits", None) or {}), block.pop("tasks", None)
    source, count = str(block["source"]), splits.pop(REFERENCE, 0)
    reference = {TRUSTED: {"held_out_of": source, "examples": count}} if count else {}
    held_out: dict[str, Any] = {}
    if any(splits.values()):
        chosen = ALL_TASKS if tasks is None else tasks
        held_out = {HELD_OUT: {"held_out_of": source, "splits": splits, "tasks": chosen}}
    return {
        POOL: {source: block},
        REFERENCE: {**reference, **datasets.get(REFERENCE, {})},
        TASKS: {**held_out, **datasets.get(TASKS, {})},
    }
