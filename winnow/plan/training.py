"""One training: what so many steps of it cost, and how many steps a budget in any unit buys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.config.bounds import known
from winnow.config.errors import ParamsError
from winnow.config.load import read
from winnow.config.parse import plugin_config
from winnow.config.plugins import CODE, plugins
from winnow.config.schema import Backbone, Method
from winnow.loading.sampler import epoch_steps
from winnow.plan.amount import NONE, Amount
from winnow.plan.arms import ArmPlan
from winnow.plan.rates import Rates
from winnow.plan.step import own_size, training_step
from winnow.selection.cost import StepFlops, steps_within, trained_flops
from winnow.selection.mixture import candidate_counts
from winnow.selection.policy import UNIFORM
from winnow.training.schedule import held_steps

ROUNDING = 1e-12  # of a budget that was computed from another unit; a step is never so small a share of one
UNITS = {"budget": "flops", "seconds": "seconds", "kwh": "kwh", "gco2e": "gco2e"}  # option -> unit


@dataclass(frozen=True)
class Training:
    """`label` names it, `candidates` are the images that a step draws, `charged` FLOPs are paid before."""

    label: str
    step: StepFlops
    recipe: Method
    candidates: int
    charged: Amount = NONE

    def flops(self, steps: int) -> int:
        """All FLOPs of so many steps, what is charged before them included."""
        trained = trained_flops(self.step, steps, held_steps(self.recipe, steps))
        return self.charged.value + steps * self.step.score + trained

    def steps_of(self, epochs: float, images: int) -> int:
        """The steps of so many passes through `images`; an incomplete last batch of a pass is dropped.

        Raises:
            ParamsError: if the images are fewer than a step draws, or that is no step.
        """
        if (steps := int(epochs * self._pass(images))) < 1:
            raise ParamsError(f"--epochs: {epochs:g} of {images} images is no step; give more")
        return steps

    def epochs(self, steps: int, images: int) -> float:
        """Passes through `images` of so many steps.

        Raises:
            ParamsError: if the images are fewer than a step draws.
        """
        return steps / self._pass(images)

    def _pass(self, images: int) -> int:
        if images < self.candidates:
            given = f"--images: {images}, and a step draws {self.candidates}"
            raise ParamsError(f"{given}; give more images or a smaller --batch-size")
        return epoch_steps(images, self.candidates)

    def steps_for(self, option: str, amount: float, rates: Rates) -> Amount:
        """How many steps an amount buys; what is charged before them comes off it.

        Args:
            option: `budget` (FLOPs), `seconds`, `kwh` or `gco2e`.

        Raises:
            ParamsError: if it buys none.
        """
        if option == "gco2e" and not rates.intensity:
            raise ParamsError("--gco2e: the electricity has 0 gCO2e/kWh (carbon.intensity); give --kwh")
        budget = rates.flops_in(UNITS[option], amount)
        budget = budget if option == "budget" else budget * (1 + ROUNDING)
        try:
            steps = steps_within(budget, self.charged.value, self.step, self.recipe)
        except ValueError:
            given = f"--{option}: {amount:g} is {budget:.4g} FLOPs"
            least = f"the first step ends at {self.charged.value + self.step.total:.4g}"
            raise ParamsError(f"{given}, and {least}; give more") from None
        return Amount(steps, self.charged.opposite)


def of_arm(name: str, plan: ArmPlan) -> Training:
    """The training of an arm.

    Raises:
        ParamsError: if it is frozen.
    """
    if plan.arm.frozen:
        raise ParamsError(f"ARM: {name} is frozen and trains nothing; name another arm")
    arm, replays = plan.arm, plan.policy.scorer == "replay"
    counts = candidate_counts(plan.recipe, plan.policy, arm)
    candidates = plan.recipe.batch_size if replays else sum(counts)
    label = f"{name}: {arm.method} of {arm.backbone}, policy {arm.policy}, batch {plan.recipe.batch_size}"
    return Training(label, plan.step, plan.recipe, candidates, plan.charged)


def of_settings(
    conf: Path, method: str, backbone: str, image_size: int | None, batch_size: int | None, classes: int
) -> Training:
    """A uniform training by the recipe of conf/method.

    Args:
        backbone: a file of conf/backbone, or any name of timm.
        image_size: in pixels; None for that of the file, or of timm's weights.
        batch_size: None for the recipe's.
        classes: of a classifier.

    Raises:
        ParamsError: for a method or backbone that does not exist, or settings that do not fit.
    """
    known("--method", method, plugins("models.methods"))
    recipe = _block(Method, conf, "method", method)
    if recipe is None:
        raise ParamsError(f"--method: {method!r} has no file in conf/method; write one")
    chosen = _block(Backbone, conf, "backbone", backbone) or Backbone(backbone, own_size(backbone))
    chosen.image_size, recipe.batch_size = image_size or chosen.image_size, batch_size or recipe.batch_size
    try:
        step = training_step(method, recipe, UNIFORM, chosen, classes)
    except (ValueError, RuntimeError, AssertionError) as error:  # of networks at sizes that they do not fit
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise ParamsError(f"--backbone: {method} of {backbone} at {chosen.image_size} px: {why}") from None
    views = (f"{n} {v.count} x {v.size or chosen.image_size} px" for n, v in recipe.views.items())
    label = f"{method} of {backbone}, views {', '.join(views)}, batch {recipe.batch_size}"
    return Training(label, step, recipe, recipe.batch_size)


def _block(kind: type, conf: Path, group: str, name: str) -> Any:
    """A file of conf/, of the project or else of this code."""
    files = [root / group / f"{name}.yaml" for root in (conf, CODE / "conf")]
    path = next((path for path in files if path.is_file()), None)
    return None if path is None else plugin_config(kind, f"conf/{group}/{name}.yaml", read(path))
