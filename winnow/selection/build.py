"""From an arm of params.yaml to its selector, what a step of it costs, and how many steps there are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from models.encoders import Normalisation
from models.methods import Objective
from models.methods import load as load_method
from winnow.config.budget import FLOPS, limits
from winnow.config.derive import needs_pool_model, needs_reference, parts
from winnow.config.derived import NOTHING
from winnow.config.schema import REFERENCE, Arm, Method, Params, Policy
from winnow.loading.examples import Examples
from winnow.pipeline.files import read_json
from winnow.pipeline.workspace import Workspace
from winnow.pool import uids as uid_files
from winnow.pool.pool import Pool
from winnow.selection.cost import StepFlops, step_flops, steps_within, trained_flops
from winnow.selection.mixture import Mixture, candidate_counts, scored_candidates, selected_part
from winnow.selection.policy import UNIFORM, in_batch
from winnow.selection.reference import Online, Reference
from winnow.selection.reference_record import Record, open_reference
from winnow.selection.scorers import Proxy
from winnow.selection.selector import Replay, Selector
from winnow.selection.trace import replayed
from winnow.training.build import build, open_for
from winnow.training.pace import Reading, UntilSpent
from winnow.training.schedule import from_scratch, held_steps, recipe_of
from winnow.versions.flops import CurationFlops

# Added to an arm's seed for a proxy, and for an online reference: neither may start as a copy of the learner.
PROXY, ONLINE = 250_000, 750_000
FROZEN = "frozen"  # what stopped an arm that trains nothing


@dataclass(frozen=True)
class Charge:
    """FLOPs charged to an arm before its first step: shares of its version's curation, of its reference, and
    of the arm whose encoder it starts from. None: it starts from weights that nobody knows the cost of.
    """

    curate: int
    reference: int
    weights: int | None = 0

    @property
    def total(self) -> int:
        """All that is known."""
        return self.curate + self.reference + (self.weights or 0)

    def with_spent(self, spent: dict[str, int]) -> dict[str, int | None]:
        """By purpose, with what was spent since, and the sum of all that is known."""
        weights = {} if self.weights == 0 else {"weights": self.weights}
        whole = {"curate": self.curate, "reference": self.reference, **weights, **spent}
        return {**whole, "total": self.total + sum(spent.values())}


@dataclass(frozen=True)
class Selection:
    """The selector, for how many steps, what a step costs, what was charged before, and what ends the run.

    In the first `held` steps the encoder is held, so that they cost less. Where the budget is time or energy
    `steps` is the most there may be, and `pace` ends the run.
    """

    selector: Selector
    steps: int
    step: StepFlops
    charge: Charge
    stopped_by: str
    held: int = 0
    pace: UntilSpent | None = None

    @property
    def length(self) -> int | UntilSpent:
        """What a training is given: a number of steps, or what ends it."""
        return self.pace or self.steps

    @property
    def ended_by(self) -> str:
        """What ended the run, when it is over."""
        return self.pace.stopped_by if self.pace else self.stopped_by

    def flops(self, steps: int) -> dict[str, Any]:
        """All that the arm has spent after so many steps, by purpose."""
        held = self.pace.held_steps if self.pace else self.held
        trained = trained_flops(self.step, steps, held)
        spent = {"score": steps * self.step.score, "train": trained}
        return self.charge.with_spent(spent)


def build_selection(
    params: Params,
    arm: Arm,
    workspace: Workspace,
    fabric: Fabric,
    objective: Objective,
    data: Examples,
    spent: Reading | None = None,
) -> Selection:
    """The arm's selection for a learner `objective` on `data`, the examples of the arm's version.

    Args:
        spent: reads what the stage has spent, by unit, for a budget of time or energy.

    Raises:
        ValueError: if a file that the policy reads is missing or does not fit, or the budget buys no step.
    """
    if arm.frozen:  # nothing is trained, and nothing charged but the weights
        charge = Charge(0, 0, _weights_charge(params, arm, workspace))
        selector = Selector(UNIFORM, params.methods[arm.method], data, None, 0)
        return Selection(selector, 0, StepFlops(0, 0), charge, FROZEN)
    policy, seed = params.policies[arm.policy], arm_seed(params, arm)
    recipe = recipe_of(params, arm.method, arm.backbone)
    charge = _charge(params, arm, workspace)
    reference = _reference(params, arm, workspace, data)
    proxy = build(params, arm.method, policy.proxy, data.classes, seed + PROXY) if policy.proxy else None
    online = build(params, arm.method, policy.online, data.classes, seed + ONLINE) if policy.online else None
    scored = scored_candidates(recipe, policy, arm)
    step = step_flops(objective, recipe, policy, data, proxy, reference, online, scored)
    replay = None
    if policy.scorer == "replay":
        replay = Replay(policy, recipe, data, replayed(workspace.root / arm.dvc.trace, data.uids), seed)
    budgets = limits(params.pretrain.budget, arm.budget_share)
    steps, stopped_by, pace = _end(budgets, charge, step, recipe, replay, spent)
    length, held = pace or steps, held_steps(recipe, steps)
    if replay:
        return Selection(replay, steps, step, charge, stopped_by, held, pace)
    if online:
        model = Proxy(fabric, online, from_scratch(recipe), length)
        trusted = _trusted(params, arm, workspace, data.pixels.pool, data.normalisation)
        reference = Online(model, trusted, recipe, policy, seed + ONLINE)
    scorer = Proxy(fabric, proxy, from_scratch(recipe), length) if proxy else None
    mixture = _mixture(recipe, policy, arm, workspace, data)
    selector = Selector(policy, recipe, data, reference, seed, scorer, mixture)
    return Selection(selector, steps, step, charge, stopped_by, held, pace)


def _end(
    budgets: dict[str, float],
    charge: Charge,
    step: StepFlops,
    recipe: Method,
    replay: Replay | None,
    spent: Reading | None,
) -> tuple[int, str, UntilSpent | None]:
    """The most steps there can be, what ends the run there, and its pace, where time or energy may end it."""
    timed = {unit: amount for unit, amount in budgets.items() if unit != FLOPS}
    ends = [(replay.steps, "examples")] if replay else []
    if FLOPS in budgets:
        steps = steps_within(budgets[FLOPS], charge.total, step, recipe)
        ends.append((steps, f"budget: {FLOPS}" if timed else "budget"))
    if not timed:
        return *min(ends), None
    if spent is None:
        raise ValueError(f"pretrain.budget.{next(iter(timed))}: nothing reads what was spent")
    most, held = min(ends, default=None), held_steps(recipe, UntilSpent.total)
    pace = UntilSpent(timed, spent, charge.total / step.total, most, held)
    return most[0] if most else pace.total, pace.stopped_by, pace


def arm_seed(params: Params, arm: Arm) -> int:
    """The seed of the arm's weights and order."""
    return 1_000_003 * params.seed + arm.seed


def _mixture(
    recipe: Method, policy: Policy, arm: Arm, workspace: Workspace, data: Examples
) -> Mixture | None:
    """The examples of each part of a union with shares."""
    if arm.mixture is None:
        return None
    place = {uid: index for index, uid in enumerate(data.uids)}
    joined = (uid_files.load(workspace.uids(one)) for one in parts(arm.version))
    members = [np.array([place[uid] for uid in uids], np.int64) for uids in joined]
    return Mixture(members, candidate_counts(recipe, policy, arm), selected_part(arm))


def arm_uids(arm: Arm, workspace: Workspace) -> list[str]:
    """The uids that the arm trains on: those of its version, or of all parts of a union, sorted."""
    return sorted({uid for one in parts(arm.version) for uid in uid_files.load(workspace.uids(one))})


def _trusted(params: Params, arm: Arm, workspace: Workspace, pool: Pool, by: Normalisation) -> Examples:
    uids = uid_files.load(workspace.uids(REFERENCE))
    return open_for(params, arm.method, arm.backbone, pool, uids, normalisation=by)


def _reference(params: Params, arm: Arm, workspace: Workspace, data: Examples) -> Reference | None:
    """The finished reference, where the policy uses one."""
    policy = params.policies[arm.policy]
    if not needs_reference(policy):
        return None
    folder = workspace.root / arm.dvc.reference
    pair = load_method(folder.name).Method.PAIR
    pairs = policy.sampler == "joint" or in_batch(policy, pair)
    if arm.selects_from is None:
        return open_reference(folder, data.uids, pairs, params.seed)
    judged = uid_files.load(workspace.uids(arm.selects_from))
    place = {uid: index for index, uid in enumerate(data.uids)}
    rows = torch.tensor([place[uid] for uid in judged])
    return open_reference(folder, judged, pairs, params.seed).among(rows, len(data))


def _charge(params: Params, arm: Arm, workspace: Workspace) -> Charge:
    """The shares that the arm pays.

    The training of a reference that also made the arm's version is charged once, with the larger share.
    """
    making = CurationFlops()
    for one in parts(arm.version):
        making = making.joined(CurationFlops.read(workspace.version(one)))
    shares, policy = params.pretrain, params.policies[arm.policy]
    curated, weights = int(shares.curation_share * making.curate), _weights_charge(params, arm, workspace)
    if not needs_reference(policy):
        return Charge(curated, 0, weights)
    folder = workspace.root / arm.dvc.reference
    spent = Record.read(folder).spent(needs_pool_model(policy))
    common = making.references.get(folder.name, 0)
    both = int(min(shares.curation_share, shares.reference_share) * common)
    return Charge(curated, int(shares.reference_share * spent) - both, weights)


def _weights_charge(params: Params, arm: Arm, workspace: Workspace) -> int | None:
    """The arm's share of all that was charged to the arm whose encoder it starts from."""
    if arm.dvc.weights == NOTHING:
        return 0
    if arm.dvc.weights_record == NOTHING:
        return None
    trained = read_json(workspace.root / arm.dvc.weights_record, "make it again with: dvc repro -f pretrain")
    return int(params.pretrain.weights_share * trained["flops"]["total"])
