"""FLOPs of measuring encoders: the readings during training, and the tasks whose settings say their work.

Tasks are counted by the formulas that their stages read, winnow/evaluation/task_flops.py; readings follow
winnow/evaluation/readings.py. Any other task is unknown: detection, for one, counts a step when it runs it.
"""

from collections.abc import Callable

from models import methods
from winnow.config.derived import Cell
from winnow.config.schema import Arm, Backbone, Method, Params, View
from winnow.evaluation.linear import most_evaluations
from winnow.evaluation.task_flops import finetuning_flops, linear_probe_flops
from winnow.plan.amount import EXACT, LEAST, MOST, NONE, UNKNOWN, Amount, total
from winnow.plan.known import Known
from winnow.plan.step import backbone_forward, backbone_width, own_reading, training_step
from winnow.selection.policy import UNIFORM

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
    each, last = (bank + val) * backbone_forward(backbone), NONE
    if not arm.frozen:
        settings, classes = params.methods[arm.method].settings, known.pool_classes()[0]
        more = own_reading(arm.method, settings, backbone, classes)
        if "captions" in methods.load(arm.method).Method.NEEDS:
            names = Amount(known.set_classes(name)[0])
            each += (val + names) * more
            last = (known.split(name, "test") + names) * more
        else:  # a classifier is read where it knows the classes, which a set of its own may not share
            known_classes = params.datasets.tasks[name].held_out_of is not None
            each += Amount((val * more).value, val.sign if known_classes or not more else MOST)
    return each * times + last


def reference_readings(params: Params, known: Known) -> Amount:
    """FLOPs of the one reading of each method's reference."""
    name = params.pretrain.dvc.set
    if name is None or not params.reference.methods:
        return NONE
    images = known.split(name, "probe") + known.split(name, "val")
    forward = backbone_forward(params.backbones[str(params.reference.backbone)])
    return images * (len(params.reference.methods) * forward)


def task_flops(task: str, params: Params, cell: Cell, known: Known) -> Amount:
    """FLOPs of one task on one arm's encoder and one set; unknown for a task that is not in `TASKS`."""
    if task not in TASKS:
        return UNKNOWN
    return TASKS[task](params, params.backbones[params.arms[cell.arm].backbone], cell.set, known)


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


TASKS: dict[str, Callable[[Params, Backbone, str, Known], Amount]] = {
    "linear_probe": _linear_probe,
    "semi_supervised": _semi_supervised,
}


def _finetuning_step(backbone: Backbone, size: int, classes: int) -> int:
    """FLOPs of one supervised step on `size` images."""
    recipe = Method(size, views={"image": View()}, score_views={"image": View()})
    return training_step("supervised", recipe, UNIFORM, backbone, classes).train
