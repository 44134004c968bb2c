"""The plan of an experiment: for every stage its steps, FLOPs, time and energy, before anything runs."""

from dataclasses import dataclass, replace

from winnow.config.budget import NOT_REPRODUCIBLE, reproducible
from winnow.config.derived import NOTHING
from winnow.config.schema import Arm, Params
from winnow.pipeline.stages import Entry, Stages
from winnow.pipeline.timings import Timings
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import EXACT, NONE, Amount, total
from winnow.plan.arms import Arms
from winnow.plan.known import Known
from winnow.plan.rates import Rates
from winnow.plan.tasks import readings, reference_readings, task_flops
from winnow.preflight import check_plugins

MEASURED, COUNTED, NOWHERE = "measured", "FLOPs", "unknown"
# Stages that run no model, so that nothing tells how long they take but an earlier run.
WITHOUT_MODELS = ("plugins", "ingest", "curate", "oracle", "datasheet", "compare")


@dataclass(frozen=True)
class Row:
    """One stage. `charged` are an arm's shares of what other stages spend, None for a stage that is no arm;
    `score`, `train` and `evaluate` are FLOPs of the stage itself.

    `seconds` are None where unknown, and `basis` says what they are from.
    """

    stage: str
    steps: Amount | None = None
    charged: Amount | None = None
    score: Amount = NONE
    train: Amount = NONE
    evaluate: Amount = NONE
    seconds: float | None = None
    basis: str = NOWHERE
    problem: str | None = None

    @property
    def flops(self) -> Amount:
        """What the stage itself spends."""
        return self.score + self.train + self.evaluate

    @property
    def sign(self) -> str:
        """Of its seconds, as `Amount.sign`."""
        return self.flops.sign if self.basis == COUNTED else EXACT


@dataclass(frozen=True)
class Plan:
    """All stages in the order of dvc.yaml, and what was taken for granted."""

    rows: list[Row]
    notes: list[str]

    @property
    def problems(self) -> list[str]:
        """A line for each arm whose budget buys no step."""
        return [f"{row.stage}: {row.problem}" for row in self.rows if row.problem]


def plan(
    params: Params, workspace: Workspace, rates: Rates, measured: bool = True, images: int | None = None
) -> Plan:
    """Plan the experiment of a workspace; reads no image and trains nothing.

    Args:
        rates: of the hardware, for what was not measured.
        measured: whether times that were measured on this machine are taken before those from FLOPs.
        images: how many images the version `pool` shall be taken to hold; None for what is known.

    Raises:
        ParamsError: for the first key of params whose value cannot work.
    """
    check_plugins(params, workspace.root)
    known = Known(params, workspace, images)
    arms = Arms(params, workspace, known, rates)
    timings = Timings(workspace, params) if measured else None
    rows = []
    for entry in Stages.read(workspace.root).entries.values():
        row = _row(entry, params, arms, known)
        rows.append(_timed(row, timings.expected(row.stage) if timings else None, rates, entry))
    return Plan(rows, _notes(rows, params, known))


def _row(entry: Entry, params: Params, arms: Arms, known: Known) -> Row:
    address, key = entry.address, str(entry.key)
    if entry.name == "pretrain":
        one = arms.plan(key)
        evaluate = readings(params, one.arm, one.steps.value, known)
        return Row(address, one.steps, one.charged, one.score, one.train, evaluate, problem=one.problem)
    if entry.name == "reference":
        return _reference(address, params, arms, known)
    if entry.name == "refine":
        return Row(address, score=arms.curation.embeddings(key))
    if entry.is_task:
        return Row(address, evaluate=task_flops(entry.name, params, params.cells[entry.name][key], known))
    return Row(address)


def _reference(address: str, params: Params, arms: Arms, known: Known) -> Row:
    """Of a finished reference of another run the losses alone are computed."""
    every = [arms.curation.reference(method) for method in params.reference.methods]
    here, twice = params.reference.finished is None, 2 if params.reference.pool_model else 1
    steps = Amount(sum(one.steps for one in every) * twice) if here and every else None
    train = total([one.train * twice for one in every]) if here else NONE
    score = total([one.score * twice for one in every])
    return Row(address, steps, None, score, train, reference_readings(params, known))


def _timed(row: Row, measured: float | None, rates: Rates, entry: Entry) -> Row:
    if measured is not None:
        return replace(row, seconds=measured, basis=MEASURED)
    if entry.name in WITHOUT_MODELS or not row.flops.value:
        return row
    return replace(row, seconds=rates.seconds(row.flops.value), basis=COUNTED)


def _notes(rows: list[Row], params: Params, known: Known) -> list[str]:
    notes = []
    pool, (classes, ingested) = known.version("pool"), known.pool_classes()
    if pool.unknown:
        notes.append(
            "the pool is not ingested: its number of images is unknown, and what grows with it is left out "
            "(≥, and ≤ for the steps that a budget buys); give it by --images"
        )
    elif known.images is not None:
        notes.append(f"the pool version is taken to hold {pool.value:,} images (--images)")
    elif pool.sign:
        notes.append(f"the pool version holds at most {pool.value:,} images, which curate will tell")
    if not ingested:
        notes.append(f"the pool is not ingested: {classes} classes are assumed")
    if unknown := sorted({row.stage.split("@")[0] for row in rows if row.flops.unknown}):
        notes.append(f"FLOPs unknown before it runs: {', '.join(unknown)}")
    if not reproducible(params.pretrain.budget):
        notes.append(NOT_REPRODUCIBLE + "; its steps (~) are those of the throughput above")
    if any(_from_elsewhere(arm) for arm in params.arms.values()):
        notes.append("what weights from elsewhere cost is in no sum")
    return notes


def _from_elsewhere(arm: Arm) -> bool:
    """Whether nobody knows what the weights cost that an arm starts from."""
    return arm.dvc.weights != NOTHING and arm.dvc.weights_record == NOTHING
