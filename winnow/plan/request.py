"""What `winnow cost` is asked: which training, and how much of it."""

from dataclasses import dataclass
from typing import Any

from winnow.config.bounds import known as check_known
from winnow.config.derive import parts
from winnow.config.errors import ParamsError
from winnow.config.schema import POOL, Params
from winnow.config.shorthands import first_seed
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import EXACT, Amount
from winnow.plan.arms import ArmPlan, Arms
from winnow.plan.known import Known
from winnow.plan.rates import Rates
from winnow.plan.training import UNITS, Training, of_arm, of_settings
from winnow.preflight import check_plugins

SETTINGS = ("method", "backbone", "image_size", "batch_size")  # of a training that is no arm's
EXTENT = ("epochs", *UNITS)


@dataclass(frozen=True)
class Request:
    """`arm` is a name or None, `given` the other options, None for one that is not given."""

    arm: str | None
    given: dict[str, Any]

    def answer(
        self, params: Params, workspace: Workspace, rates: Rates
    ) -> tuple[Training, Amount, int | None]:
        """The training, its steps, and how many images an epoch has, None where nobody knows.

        Raises:
            ParamsError: for options that do not fit each other, or a name that does not exist.
        """
        extents = [name for name in EXTENT if self.given[name] is not None]
        if len(extents) > 1:
            raise ParamsError(f"--{extents[1]}: given beside --{extents[0]}; give one of them")
        images = self.given["images"]
        if self.arm is not None:
            training, plan, own = self._arm(self.arm, params, workspace, rates)
            images = images or own
            if not extents:
                if plan.problem:
                    raise ParamsError(plan.problem)
                return training, plan.steps, images
        else:
            training = self._settings(workspace)
        if not extents:
            raise ParamsError(f"--epochs: not given; give it, or one of --{', --'.join(UNITS)}")
        return training, self._steps(training, extents[0], images, rates), images

    def _steps(self, training: Training, extent: str, images: int | None, rates: Rates) -> Amount:
        amount = self.given[extent]
        if extent != "epochs":
            return training.steps_for(extent, amount, rates)
        if images is None:
            raise ParamsError("--images: not given, and --epochs needs it; give how many images there are")
        return Amount(training.steps_of(amount, images))

    def _arm(
        self, name: str, params: Params, workspace: Workspace, rates: Rates
    ) -> tuple[Training, ArmPlan, int | None]:
        """The training of an arm, its plan, and the images of its version where they are known."""
        if given := [one for one in SETTINGS if self.given[one] is not None]:
            option = given[0].replace("_", "-")
            raise ParamsError(f"--{option}: given beside ARM {name}, whose own stands in params.yaml")
        name = first_seed(name, params.arms)
        check_known("ARM", name, params.arms)
        check_plugins(params, workspace.root)
        versions = parts(params.arms[name].version)
        known = Known(params, workspace, self.given["images"] if versions == [POOL] else None)
        plan = Arms(params, workspace, known, rates).plan(name)
        images = known.union(versions)
        return of_arm(name, plan), plan, images.value if images.sign == EXACT and images.value else None

    def _settings(self, workspace: Workspace) -> Training:
        for name in ("method", "backbone"):
            if self.given[name] is None:
                raise ParamsError(f"--{name}: not given; give it, or name an ARM of params.yaml")
        settings = [self.given[name] for name in (*SETTINGS, "classes")]
        return of_settings(workspace.conf, *settings)
