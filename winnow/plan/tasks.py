"""FLOPs of measuring encoders: the readings during training, and the tasks whose settings say their work.

Tasks are counted by the formulas that their stages read, winnow/evaluation/task_flops.py; readings follow
winnow/evaluation/readings.py. Any other task is unknown: detection, for one, counts a step when it runs it.
"""

from collections.abc import Callable

from models import methods
from models.corruptions.corrupt import NAMES, SEVERITIES
from winnow.config.derived import Cell
from winnow.config.schema import Arm, Backbone, Method, Params, View
from winnow.evaluation.linear import most_evaluations
from winnow.evaluation.task_flops import classifier_flops, finetuning_flops, linear_probe_flops
from winnow.plan.amount import EXACT, LEAST, MOST, NONE, UNKNOWN, Amount, total
from winnow.plan.known import Known
from winnow.plan.step import (
    backbone_forward,
    backbone_width,
    embedding_flops,
    meta_objective,
    own_reading,
    shapes,
    training_step,
)
from winnow.selection.policy import UNIFORM

IMAGES = 125  # that robustness measures by default: stages/robustness.py
BANK = 1000  # labelled images that a reading compares with: winnow/evaluation/readings.py


def readings(params: Params, arm: Arm, steps: int, known: Known) -> Amount:
    """FLOPs of an arm's readings on the val split of its task set, which are charged to nobody."""
    name = params.pretrain.dvc.set
    if name is None:
        return NONE
    times = 1 if arm.frozen else min(params.pretrain.evaluations, steps)
    bank, val = known.split(name, "probe"), known.split(name, "val")
    bank = Amount(BANK, MOST) if bank.unknown else Amount(min(BANK, bank.value), bank.sign)
    backbone = params.backbones[arm.backbone]
    each = (bank + val) * backbone_forward(backbone)
    if not arm.frozen:
        settings, classes = params.methods[arm.method].settings, known.pool_classes()[0]
        more = own_reading(arm.method, settings, backbone, classes)
        if "captions" in methods.load(arm.method).Method.NEEDS:
            names = Amount(known.set_classes(name)[0])
            each += (val + names) * more
        else:  # a classifier is read where it knows the classes, which a set of its own may not share
            known_classes = params.datasets.tasks[name].held_out_of is not None
            each += Amount((val * more).value, val.sign if known_classes or not more else MOST)
    return each * times


def reference_readings(params: Params, known: Known) -> Amount:
    """FLOPs of the one reading of each method's reference."""
    name = params.pretrain.dvc.set
    if name is None or not params.reference.methods:
        return NONE
    images = known.split(name, "probe") + known.split(name, "val")
    forward = backbone_forward(params.backbones[str(params.reference.backbone)])
    return images * (len(params.reference.methods) * forward)


def task_flops(task: str, params: Params, cell: Cell, known: Known) -> Amount:
    """FLOPs of one task on one arm's encoder and one set; unknown for a task that is not in a table below."""
    if task not in {**TASKS, **TOWER_TASKS}:
        return UNKNOWN
    arm = params.arms[cell.arm]
    if task in TOWER_TASKS:
        return TOWER_TASKS[task](params, arm, cell.set, known)
    return TASKS[task](params, params.backbones[arm.backbone], cell.set, known)


def _linear_probe(params: Params, backbone: Backbone, task_set: str, known: Known) -> Amount:
    settings = params.tasks["linear_probe"]
    splits = [known.split(task_set, split) for split in ("probe", "val", "test")]
    fits = len(settings["lrs"]) * len(settings["weight_decays"])
    passes, sign = fits * settings["epochs"], EXACT
    if settings["optimiser"] == "lbfgs":  # which ends where it has converged
        fits, sign = len(settings["l2"]), MOST
        passes = fits * most_evaluations(settings["iterations"])
    probe, val, test = (split.value for split in splits)
    encoder = backbone_forward(backbone), backbone_width(backbone)
    spent = linear_probe_flops(probe, val, test, *encoder, known.set_classes(task_set)[0], passes, fits)
    return Amount(spent, sign) + Amount(0, total(splits).sign)


def _semi_supervised(params: Params, backbone: Backbone, task_set: str, known: Known) -> Amount:
    """With a classifier on a projection head at least that, for only the method knows the head's sizes."""
    settings, classes = params.tasks["semi_supervised"], known.set_classes(task_set)[0]
    spent, test = NONE, known.split(task_set, "test")
    for fraction, steps in zip(params.curate.label_fractions, settings["steps"], strict=False):
        labels = known.split(task_set, f"labels-{fraction:g}")
        size = settings["batch_size"] if labels.unknown else min(settings["batch_size"], labels.value)
        sign = labels.sign if size < settings["batch_size"] or labels.unknown else ""
        step, forward = _finetuning_step(backbone, size, classes), backbone_forward(backbone)
        spent += Amount(finetuning_flops(steps, step, test.value, forward), sign) + Amount(0, test.sign)
    return spent * settings["draws"] + Amount(0, LEAST if settings["classifier"] == "projection" else EXACT)


def _robustness(params: Params, backbone: Backbone, task_set: str, known: Known) -> Amount:
    settings, test = params.tasks["robustness"], known.split(task_set, "test")
    if (most := settings.get("images", IMAGES)) is not None:
        test = Amount(most, MOST) if test.unknown else Amount(min(most, test.value), test.sign)
    cells = len(settings.get("corruptions") or NAMES) * len(settings.get("severities", SEVERITIES))
    probe, val = (known.split(task_set, split) for split in ("probe", "val"))
    fits = len(settings.get("l2", [0, 0, 0]))
    passes = fits * most_evaluations(settings.get("iterations", 100))
    encoder = backbone_forward(backbone), backbone_width(backbone)
    measured, classes = test.value * (1 + cells), known.set_classes(task_set)[0]
    spent = classifier_flops(probe.value, val.value, measured, *encoder, classes, passes, fits)
    return Amount(spent, MOST) + Amount(0, total([probe, val, test]).sign)


def _towers(params: Params, arm: Arm) -> tuple[int, int]:
    """FLOPs of embedding one image, and one caption, by an arm's towers."""
    backbone, settings = params.backbones[arm.backbone], params.methods[arm.method].settings
    objective = meta_objective(arm.method, settings, backbone, 1)
    return embedding_flops(
        objective, backbone.image_size, shapes(arm.method, settings, backbone.image_size, 1)
    )


def _zero_shot(params: Params, arm: Arm, task_set: str, known: Known) -> Amount:
    image, text = _towers(params, arm)
    templates = params.tasks["zero_shot"].get("templates") or [""]  # one by default
    prompts = len(templates) * known.set_classes(task_set)[0]
    return known.split(task_set, "test") * image + Amount(prompts * text)


def _retrieval(params: Params, arm: Arm, task_set: str, known: Known) -> Amount:
    return known.split(task_set, "test") * sum(_towers(params, arm))


TASKS: dict[str, Callable[[Params, Backbone, str, Known], Amount]] = {
    "linear_probe": _linear_probe,
    "semi_supervised": _semi_supervised,
    "robustness": _robustness,
}
TOWER_TASKS: dict[str, Callable[[Params, Arm, str, Known], Amount]] = {
    "zero_shot": _zero_shot,
    "retrieval": _retrieval,
}


def _finetuning_step(backbone: Backbone, size: int, classes: int) -> int:
    """FLOPs of one supervised step on `size` images."""
    recipe = Method(size, views={"image": View()}, score_views={"image": View()})
    return training_step("supervised", recipe, UNIFORM, backbone, classes).train
