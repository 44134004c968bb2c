"""FLOPs of measuring encoders: the readings during training, and the tasks whose settings say their work.

They follow stages/linear_probe.py, stages/semi_supervised.py and winnow/evaluation/readings.py. Any other
task is unknown: detection, for one, counts a step when it runs it.
"""

from collections.abc import Callable

from models import methods
from winnow.config.derived import Cell
from winnow.config.schema import Arm, Backbone, Method, Params, View
from winnow.plan.amount import MOST, NONE, UNKNOWN, Amount, total
from winnow.plan.known import Known
from winnow.plan.step import backbone_forward, own_reading, training_step
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
    images = total([known.split(task_set, split) for split in ("probe", "val", "test")])
    return images * backbone_forward(backbone)


def _semi_supervised(params: Params, backbone: Backbone, task_set: str, known: Known) -> Amount:
    settings, classes = params.tasks["semi_supervised"], known.set_classes(task_set)[0]
    spent = NONE
    for fraction, steps in zip(params.curate.label_fractions, settings["steps"], strict=False):
        labels = known.split(task_set, f"labels-{fraction:g}")
        size = settings["batch_size"] if labels.unknown else min(settings["batch_size"], labels.value)
        sign = labels.sign if size < settings["batch_size"] or labels.unknown else ""
        spent += Amount(steps * _finetuning_step(backbone, size, classes), sign)
        spent += known.split(task_set, "test") * backbone_forward(backbone)
    return spent


TASKS: dict[str, Callable[[Params, Backbone, str, Known], Amount]] = {
    "linear_probe": _linear_probe,
    "semi_supervised": _semi_supervised,
}


def _finetuning_step(backbone: Backbone, size: int, classes: int) -> int:
    """FLOPs of one supervised step on `size` images."""
    recipe = Method(size, views={"image": View()}, score_views={"image": View()})
    return training_step("supervised", recipe, UNIFORM, backbone, classes).train
