"""The section `datasets`: names, and keys that only one role has."""

from collections import Counter

from winnow.config.bounds import known
from winnow.config.datasets import Corruption, Dataset, ReferenceSet, TaskSet
from winnow.config.derive import measures, roles
from winnow.config.errors import ParamsError
from winnow.config.folder_names import check_folder
from winnow.config.plugins import declared, plugins
from winnow.config.schema import POOL, REFERENCE, TASKS, Params

READINGS = "first", "none"  # what `pretrain.readings` may say beside the name of a task set


def check_datasets(params: Params) -> None:
    """Raise `ParamsError` for the first dataset that cannot be what its role asks for."""
    datasets = params.datasets
    if not datasets.pool:
        raise ParamsError("datasets.pool: empty; name at least one dataset: {source: folder, path: FOLDER}")
    _check_unique(params)
    for name, (role, one) in roles(params).items():
        key = f"datasets.{role}.{name}"
        check_folder(f"datasets.{role}", name)
        if isinstance(one, ReferenceSet | TaskSet):
            _check_origin(key, one, params)
        elif one.source is None:
            raise ParamsError(f"{key}.source: null; allowed: {', '.join(plugins('winnow.sources'))}")
        if role != POOL and (one.trusted or one.corruption != Corruption()):
            raise ParamsError(f"{key}: trusted and corruption are for the pool; leave them out")
    for name, reference in datasets.reference.items():
        if reference.held_out_of and reference.examples is None:
            key = f"datasets.{REFERENCE}.{name}.examples"
            raise ParamsError(f"{key}: null; give how many examples of {reference.held_out_of} it takes")
    for name, task_set in datasets.tasks.items():
        _check_task_set(name, task_set, params)
        _check_labels(name, task_set, params)
    if params.pretrain.readings not in READINGS:
        known("pretrain.readings", params.pretrain.readings, [*READINGS, *datasets.tasks])


def _check_unique(params: Params) -> None:
    datasets = params.datasets
    names = Counter([*datasets.pool, *datasets.reference, *datasets.tasks])
    for name, count in names.items():
        if count > 1:
            raise ParamsError(f"datasets: {name!r} names {count} datasets; give each a name of its own")


def _check_origin(key: str, one: ReferenceSet | TaskSet, params: Params) -> None:
    if (one.source is None) == (one.held_out_of is None):
        given = f"source {one.source}, held_out_of {one.held_out_of}"
        raise ParamsError(f"{key}: {given}; give one of the two")
    if one.held_out_of is not None:
        known(f"{key}.held_out_of", one.held_out_of, params.datasets.pool)
        for name, unread in vars(Dataset()).items():
            if (given := getattr(one, name)) != unread:
                what = f"{key}.{name}: {given!r}, but it is held out of {one.held_out_of}"
                raise ParamsError(f"{what}, where that is set; leave it out")


def _check_task_set(name: str, one: TaskSet, params: Params) -> None:
    key = f"datasets.{TASKS}.{name}"
    if name in READINGS:
        raise ParamsError(f"{key}: pretrain.readings means something else by {name!r}; choose another name")
    for task in one.tasks:
        known(f"{key}.tasks", task, params.tasks)
        if params.arms and not any(measures(task, arm) for arm in params.arms.values()):
            raise ParamsError(
                f"{key}.tasks: {task} reads a text tower, and no arm trains one; give an arm method clip or "
                f"siglip, or leave {task} out"
            )
    if one.held_out_of:
        for split, count in vars(one.splits).items():
            if count is None:
                raise ParamsError(f"{key}.splits.{split}: null; give how many of {one.held_out_of} it takes")
    for split in ("probe", "test") if one.tasks else ():
        if getattr(one.splits, split) == 0:
            tasks = ", ".join(one.tasks)
            raise ParamsError(f"{key}.splits.{split}: 0, but {tasks} read it; give a number, or tasks: []")


def _check_labels(name: str, one: TaskSet, params: Params) -> None:
    """Whether a set whose labels are left unread is asked for them."""
    holder = params.datasets.pool[one.held_out_of] if one.held_out_of else one
    if holder.labels:
        return
    key = f"datasets.{POOL}.{one.held_out_of}" if one.held_out_of else f"datasets.{TASKS}.{name}"
    asking = [task for task in one.tasks if "labels" in declared("stages", task, "NEEDS")]
    readings = params.pretrain.readings
    if params.arms and name == (next(iter(params.datasets.tasks)) if readings == "first" else readings):
        asking.append("pretrain.readings")
    if asking:
        raise ParamsError(
            f"{key}.labels: false, but {', '.join(asking)} of datasets.{TASKS}.{name} need labels; set it to "
            "true, or leave them out"
        )


def corrupted(dataset: Dataset) -> bool:
    """Whether examples of the dataset are corrupted on purpose."""
    return dataset.corruption != Corruption()
