"""A plan, or the cost of one training, as lines of text."""

import io

from rich import box
from rich.console import Console
from rich.table import Table

from winnow.pipeline.progress import clock
from winnow.plan.amount import EITHER, EXACT, NONE, Amount, total
from winnow.plan.plan import COUNTED, MEASURED, NOWHERE, Plan, Row
from winnow.plan.rates import Rates
from winnow.plan.training import Training
from winnow.report.page import numbers

COLUMNS = ("stage", "steps", "charged", "score, embed", "train", "evaluate", "time", "from", "kWh", "gCO2e")
WIDTH = 200
PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"))


def plan_lines(plan: Plan, rates: Rates, constants: list[tuple[str, str]]) -> list[str]:
    """The table, its totals, the constants behind it and its notes."""
    table = Table(*COLUMNS, box=box.SIMPLE_HEAD, pad_edge=False, show_footer=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for row in plan.rows:
        table.add_row(*_cells(row, rates))
    table.add_section()
    table.add_row(*_totals(plan.rows, rates))
    console = Console(file=io.StringIO(), width=WIDTH)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    rows = [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]
    meaning = "charged: FLOPs that an arm's budget pays before its first step, spent by other stages"
    return [*rows, "", *aligned([*constants, ("time", _basis(plan.rows))]), "", meaning, *plan.notes]


def cost_lines(
    training: Training, steps: Amount, images: int | None, rates: Rates, constants: list[tuple[str, str]]
) -> list[str]:
    """What so many steps of a training cost, and the constants behind it."""
    spent, charge = training.flops(steps.value), training.charged
    sign = EITHER if steps.sign else charge.sign
    seconds = rates.seconds(spent)
    grams = rates.gco2e(rates.kwh(seconds))
    epochs = f", {training.epochs(steps.value, images):,.4g} epochs of {images:,} images" if images else ""
    seen = f"{steps.value * training.recipe.batch_size:,} images trained on"
    each = f"{si(training.step.train)} to train, {si(training.step.score)} to score"
    bound = ": the number of images in the pool is not known; give --images" if charge.sign else ""
    charged = [("charged", f"{_flops(charge)} FLOPs before the first step{bound}")] if charge != NONE else []
    rows = [
        ("training", training.label),
        ("a step", f"FLOPs: {each}"),
        *charged,
        ("steps", f"{steps.sign}{steps.value:,} ({seen}{epochs})"),
        ("FLOPs", f"{sign}{spent:.4g} ({si(spent)})"),
        ("time", f"{sign}{clock(seconds)} ({seconds:.4g} s)"),
        ("energy", f"{sign}{rates.kwh(seconds):.4g} kWh"),
        ("CO2e", f"{sign}{grams:.4g} g ({numbers.grams(grams)})"),
    ]
    return aligned([*rows, *constants])


def aligned(rows: list[tuple[str, str]]) -> list[str]:
    """Names in one column, what they mean in the next."""
    width = max(len(name) for name, _ in rows)
    return [f"{name.ljust(width)}  {value}" for name, value in rows]


def si(flops: float) -> str:
    """`3.99 T`: three digits with the prefix of the unit."""
    for size, prefix in PREFIXES:
        if flops >= size:
            return f"{flops / size:.3g} {prefix}"
    return f"{flops:.3g}"


def _cells(row: Row, rates: Rates) -> list[str]:
    steps = "" if row.steps is None else f"{row.steps.sign}{row.steps.value:,}"
    charged = "" if row.charged is None else _flops(row.charged)
    spent = [_flops(one) if one != NONE else "" for one in (row.score, row.train, row.evaluate)]
    return [row.stage, steps, charged, *spent, *_energy(row.seconds, row.sign, rates, row.basis)]


def _totals(rows: list[Row], rates: Rates) -> list[str]:
    spent = [_flops(total([getattr(row, name) for row in rows])) for name in ("score", "train", "evaluate")]
    known = [row for row in rows if row.seconds is not None]
    sign = total([Amount(0, row.sign) for row in rows]).sign
    seconds = sum(row.seconds for row in known if row.seconds is not None)
    basis = EXACT if len(known) == len(rows) else f"{len(known)} of {len(rows)}"
    return ["total", "", "", *spent, *_energy(seconds if known else None, sign, rates, basis)]


def _energy(seconds: float | None, sign: str, rates: Rates, basis: str) -> list[str]:
    if seconds is None:
        return [NOWHERE, "", NOWHERE, NOWHERE]
    kwh = rates.kwh(seconds)
    return [f"{sign}{clock(seconds)}", basis, f"{sign}{kwh:.3g}", f"{sign}{rates.gco2e(kwh):.3g}"]


def _flops(amount: Amount) -> str:
    return NOWHERE if amount.unknown else f"{amount.sign}{si(amount.value)}"


def _basis(rows: list[Row]) -> str:
    counts = {basis: sum(row.basis == basis for row in rows) for basis in (MEASURED, COUNTED, NOWHERE)}
    told = f"of {counts[MEASURED]} stages measured on this machine (.winnow/seconds.json), "
    return f"{told}of {counts[COUNTED]} from FLOPs, without starting Python; of {counts[NOWHERE]} unknown"
