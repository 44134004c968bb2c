"""What each arm of params.yaml will spend, by purpose, and how many steps its budget buys."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from winnow.config.budget import FLOPS, limits, reproducible
from winnow.config.derive import needs_reference, parts, start_arm, start_within
from winnow.config.derived import NOTHING
from winnow.config.schema import Arm, Method, Params, Policy
from winnow.pipeline.files import read_json
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import EITHER, EXACT, MOST, NONE, UNKNOWN, Amount
from winnow.plan.curation import Curation, Making
from winnow.plan.known import Known
from winnow.plan.rates import Rates
from winnow.plan.step import arm_step
from winnow.selection.compatibility import check_fit
from winnow.selection.cost import StepFlops, steps_within, trained_flops
from winnow.training.schedule import held_steps, recipe_of


@dataclass(frozen=True)
class ArmPlan:
    """An arm: what a step costs, what is charged to it before the first one, and how many there are.

    `budget` is in FLOPs: `approximate` where it is one of time or energy, at the rate of some hardware.
    `problem` says why its budget buys no step.
    """

    arm: Arm
    policy: Policy
    step: StepFlops
    recipe: Method
    budget: float
    curate: Amount = NONE
    reference: Amount = NONE
    weights: Amount = NONE
    steps: Amount = NONE
    problem: str | None = None
    approximate: bool = False

    @property
    def charged(self) -> Amount:
        """FLOPs charged before the first step."""
        return self.curate + self.reference + self.weights

    @property
    def score(self) -> Amount:
        return self.steps * self.step.score

    @property
    def train(self) -> Amount:
        steps = self.steps.value
        return Amount(trained_flops(self.step, steps, held_steps(self.recipe, steps)), self.steps.sign)

    @property
    def total(self) -> Amount:
        """All that is charged to it; what a bound leaves open is spent on steps, so it is near the budget."""
        if self.steps.sign == EXACT:
            return self.charged + self.score + self.train
        return Amount(int(self.budget), EITHER if self.approximate else MOST)


class Arms:
    """The plans of all arms, each made once.

    Args:
        rates: of the hardware, for budgets of time or energy; None where there are none.
    """

    def __init__(
        self, params: Params, workspace: Workspace, known: Known, rates: Rates | None = None
    ) -> None:
        self.params, self.workspace, self.known, self.rates = params, workspace, known, rates
        self.curation = Curation(params, workspace, known)
        self._plans: dict[str, ArmPlan] = {}

    def plan(self, name: str) -> ArmPlan:
        """The plan of an arm.

        Raises:
            ParamsError: if its policy, method and backbone do not fit.
        """
        if name not in self._plans:
            self._plans[name] = self._planned(self.params.arms[name])
        return self._plans[name]

    def _planned(self, arm: Arm) -> ArmPlan:
        params, recipe = self.params, recipe_of(self.params, arm.method, arm.backbone)
        policy, approximate = params.policies[arm.policy], not reproducible(params.pretrain.budget)
        budget = min(self._flops(*one) for one in limits(params.pretrain.budget, arm.budget_share).items())
        if arm.frozen:
            return ArmPlan(arm, policy, StepFlops(0, 0), recipe, budget, weights=self._weights(arm))
        check_fit(params, arm)
        step = arm_step(params, arm, self.curation.classes)
        curate, reference = self._charges(arm)
        plan = ArmPlan(arm, policy, step, recipe, budget, curate, reference, self._weights(arm))
        try:
            steps = steps_within(budget, plan.charged.value, step, recipe)
        except ValueError as error:  # which is no reason not to plan the other arms
            return replace(plan, problem=str(error))
        sign = EITHER if approximate else plan.charged.opposite
        return replace(plan, steps=self._replayed(arm, Amount(steps, sign)), approximate=approximate)

    def _flops(self, unit: str, amount: float) -> float:
        """How many FLOPs a budget is, at the rates of the hardware."""
        if unit == FLOPS:
            return amount
        if self.rates is None:
            raise ValueError(f"{unit}: no rates to convert it by")
        return self.rates.flops_in(unit, amount)

    def _replayed(self, arm: Arm, steps: Amount) -> Amount:
        """At most as many steps as the trace that is replayed holds."""
        if arm.replay_from is None:
            return steps
        source = self.plan(arm.replay_from)
        seen = source.steps.value * source.recipe.batch_size // self.params.methods[arm.method].batch_size
        return Amount(seen, source.steps.sign) if seen < steps.value else steps

    def _charges(self, arm: Arm) -> tuple[Amount, Amount]:
        """The shares of the version's curation and of the reference, as winnow/selection/build.py charges."""
        shares, policy, making = self.params.pretrain, self.params.policies[arm.policy], self.making(arm)
        curate = making.curate * shares.curation_share
        if not needs_reference(policy):
            return curate, NONE
        method = arm.reference_method or arm.method
        spent = self.curation.charged(policy, method) * shares.reference_share
        common = making.references.get(method, NONE)
        both = int(min(shares.curation_share, shares.reference_share) * common.value)
        return curate, Amount(spent.value - both, spent.sign)

    def making(self, arm: Arm) -> Making:
        """What the version that an arm trains on cost."""
        making = Making()
        for version in parts(arm.version):
            making = making.joined(self.curation.making(version, self._encoders(version)))
        return making

    def _encoders(self, version: str) -> dict[str, Amount]:
        """What was charged to the arms of this run whose encoders a version and its ancestors use."""
        found = {}
        while version in self.params.versions:
            one = self.params.versions[version]
            if (name := start_arm(one.model)) in self.params.arms:
                found[str(name)] = self.plan(str(name)).total
            version = one.parent
        return found

    def _weights(self, arm: Arm) -> Amount:
        """The share of the arm whose encoder this one starts from; weights from elsewhere are in no sum."""
        share = self.params.pretrain.weights_share
        if NOTHING in (arm.dvc.weights, arm.dvc.weights_record):
            return NONE
        if (start := start_within(self.params, arm)) is not None:
            return self.plan(start).total * share
        record = self.workspace.root / PurePosixPath(arm.dvc.weights_record)
        if not record.is_file():
            return UNKNOWN if share else NONE
        return Amount(int(share * read_json(record)["flops"]["total"]))
