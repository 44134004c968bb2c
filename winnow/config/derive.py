"""The keys of params.yaml that nobody writes: what DVC must know of a choice and cannot work out by itself.

DVC's templates have neither conditions nor loops over keys, so which files an arm reads stands in
params.yaml, in its block `dvc`. `winnow compose` writes these keys, and whoever reads params.yaml compares.
"""

from collections.abc import Mapping
from pathlib import PurePosixPath

from winnow.config.datasets import Dataset
from winnow.config.derived import (
    NOTHING,
    Cell,
    Comparison,
    DatasetPaths,
    Held,
    Ingest,
    ReadingPaths,
)
from winnow.config.plugins import declared
from winnow.config.schema import CLEAN, POOL, REFERENCE, TASKS, Arm, Params, Policy

DATASETS, VERSIONS, SPLITS = "data/datasets", "data/versions", "data/splits"
PROVENANCE = "data/provenance"
MODELS = "results/reference/models"  # a folder for each method that a reference was trained by
ENCODERS = "results/pretrain"  # a folder for each arm
WEIGHTS, CONFIG = "model.safetensors", "config.json"  # in a folder that timm reads
RAW_PIXELS = "pixels"  # the backbone of models/encoders.py that is no model
WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")


def derive(params: Params) -> None:
    """Set every derived key, in place; names that do not exist are for the checks to refuse."""
    _derive_datasets(params)
    params.oracles = [CLEAN] if any(CLEAN in parts(arm.version) for arm in params.arms.values()) else []
    params.datasheets = [POOL, REFERENCE, *params.versions, *params.oracles]
    for version in params.versions.values():
        version.dvc.model = version.model or NOTHING
        method = reference_of_model(version.model)
        version.dvc.method = f"models/methods/{method}.py" if method else NOTHING
    backbone = params.reference.backbone
    params.reference.dvc.settings = f"backbones.{backbone}" if backbone else "reference.methods"
    params.reference.dvc.finished = params.reference.finished or NOTHING
    for arm in params.arms.values():
        _derive_start(arm, params)
        arm.dvc.version, *more = parts(arm.version)
        arm.dvc.other_uids = f"{VERSIONS}/{more[0]}/uids.npy" if more else NOTHING
        arm.dvc.other_flops = f"{VERSIONS}/{more[0]}/flops.json" if more else NOTHING
        policy = params.policies.get(arm.policy)
        if policy is None:
            continue
        method = arm.reference_method or arm.method
        arm.dvc.criterion = policy.criterion
        needs = needs_reference(policy) and not arm.frozen
        arm.dvc.reference = f"{MODELS}/{method}" if needs else NOTHING
        arm.dvc.reference_code = f"models/methods/{method}.py" if needs else NOTHING
        arm.dvc.trace = f"results/pretrain/{arm.replay_from}/trace.parquet" if arm.replay_from else NOTHING


def _derive_start(arm: Arm, params: Params) -> None:
    """Which files the weights of the arm's backbone are: a file alone, or a folder's."""
    backbone = params.backbones.get(arm.backbone)
    arm.dvc.weights = arm.dvc.weights_config = arm.dvc.weights_record = NOTHING
    if backbone is None or not backbone.weights:
        return
    path = PurePosixPath(backbone.weights)
    folder = path.parent if path.name == WEIGHTS else path
    trained = start_arm(backbone.weights) is not None
    if trained or path.suffix not in WEIGHT_FILES:
        arm.dvc.weights, arm.dvc.weights_config = str(folder / WEIGHTS), str(folder / CONFIG)
        arm.dvc.weights_record = str(folder / "metrics.json") if trained else NOTHING
    else:
        arm.dvc.weights = str(path)
        if path.name.startswith("open_clip_"):  # the files of an open_clip folder
            arm.dvc.weights_config = str(path.parent / "open_clip_config.json")


def start_arm(weights: str | None) -> str | None:
    """The arm, of this run or of another one, whose encoder these weights are; None for any others."""
    path = PurePosixPath(weights or NOTHING)
    folder = path.parent if path.name == WEIGHTS else path
    return folder.name if folder.parent.parts[-2:] == ("results", "pretrain") else None


def start_within(params: Params, arm: Arm) -> str | None:
    """The arm of this run that the arm starts from, if any."""
    weights = params.backbones[arm.backbone].weights if arm.backbone in params.backbones else None
    name = start_arm(weights)
    here = weights is not None and PurePosixPath(weights).is_relative_to(ENCODERS)
    return name if here and name in params.arms else None


def parts(version: str) -> list[str]:
    """The versions that an arm's `version` joins: one, or those of a union such as `pool+reference`."""
    return version.split("+")


def roles(params: Params) -> dict[str, tuple[str, Dataset]]:
    """Name -> role and settings of every dataset, in the order of params.yaml."""
    datasets = params.datasets
    by_role: dict[str, Mapping[str, Dataset]] = {
        POOL: datasets.pool,
        REFERENCE: datasets.reference,
        TASKS: datasets.tasks,
    }
    return {name: (role, one) for role, some in by_role.items() for name, one in some.items()}


def folder_of_set(params: Params, name: str) -> str:
    """The folder of the dataset that holds the images of a task set: its own, or one of the pool's."""
    held_out_of = params.datasets.tasks[name].held_out_of
    return f"{DATASETS}/{POOL}/{held_out_of}" if held_out_of else f"{DATASETS}/{TASKS}/{name}"


def _derive_datasets(params: Params) -> None:
    datasets, every = params.datasets, roles(params)
    params.ingests = {n: Ingest(role, str(one.source)) for n, (role, one) in every.items() if one.source}
    sets = datasets.tasks.items()
    params.task_sets = {name: Held(one.held_out_of, **vars(one.splits)) for name, one in sets}
    ingested = [name for name, one in datasets.reference.items() if one.source]
    folder = f"{DATASETS}/{REFERENCE}" if ingested else NOTHING
    datasets.dvc = DatasetPaths(folder, [*datasets.pool, *ingested])
    params.cells = {task: {} for task in params.tasks}
    for arm, its in params.arms.items():
        for name, one in datasets.tasks.items():
            for task in one.tasks:
                if task in params.cells and _measures(params, task, its):
                    data, lists = folder_of_set(params, name), _lists(params, task, name)
                    params.cells[task][f"{arm}.{name}"] = Cell(arm, name, data, its.method, *lists)
    read = (
        next(iter(datasets.tasks), None) if params.pretrain.readings == "first" else params.pretrain.readings
    )
    paths = ReadingPaths()
    if read is not None and read in datasets.tasks:
        paths = ReadingPaths(read, folder_of_set(params, read), f"{SPLITS}/{read}")
    params.pretrain.dvc = paths
    params.comparison = Comparison(
        "results/pretrain" if params.arms else NOTHING,
        "results/tasks" if any(params.cells.values()) else NOTHING,
    )


def _measures(params: Params, task: str, arm: Arm) -> bool:
    """Whether a task has something to read of an arm: raw pixels are no feature maps, and a task that reads a
    text tower (`METHOD_NEEDS` of its module) leaves out the arms that trained none.
    """
    backbone = params.backbones.get(arm.backbone)
    raw = backbone is not None and backbone.name == RAW_PIXELS
    return measures(task, arm) and not (raw and "maps" in declared("stages", task, "ENCODER_NEEDS"))


def _lists(params: Params, task: str, task_set: str) -> tuple[str, str]:
    """The folder of label lists that a task's `lists` names for a set, and the names of the set's images."""
    folder = ((params.tasks[task] or {}).get("lists") or {}).get(task_set)
    dataset = params.datasets.tasks[task_set].held_out_of or task_set
    return (folder, f"{PROVENANCE}/{dataset}/sources.parquet") if folder else (NOTHING, NOTHING)


def measures(task: str, arm: Arm) -> bool:
    """Whether a task can measure an arm: one that reads a text tower (`METHOD_NEEDS` of its module) measures
    the arms that trained one, and leaves out the others of an experiment.
    """
    needs = declared("stages", task, "METHOD_NEEDS")
    return not needs or (not arm.frozen and needs <= declared("models.methods", arm.method, "NEEDS"))


def reference_of_model(model: str | None) -> str | None:
    """The method of the reference that a version's `model` names, or None where it names another kind of
    model.
    """
    path = PurePosixPath(model or NOTHING)
    folder = path.parent if path.suffix else path
    return folder.name if str(folder.parent) == MODELS else None


def criterion_needs(policy: Policy) -> frozenset[str]:
    """What the policy's criterion needs, of learner, reference and gradient_norm."""
    return declared("models.criteria", policy.criterion, "NEEDS")


def needs_reference(policy: Policy) -> bool:
    """Whether the policy reads, and pays for, a finished reference."""
    if policy.scorer == "replay" or policy.online:
        return False
    return "reference" in criterion_needs(policy) or needs_pool_model(policy)


def needs_pool_model(policy: Policy) -> bool:
    """Whether the reference's pool model stands in for the learner: the scorer is frozen, and the criterion
    wants a learner's loss.
    """
    return policy.scorer == "frozen" and "learner" in criterion_needs(policy)


def scores_now(policy: Policy) -> bool:
    """Whether the learner or a proxy looks at every candidate."""
    return policy.scorer in ("learner", "proxy") and "learner" in criterion_needs(policy)
