"""report.html: the comparison as one page that opens offline, the verdict first and the settings last."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.params import Params
from stages.report.accounting import Accounting
from stages.report.axes import dirt_colours, spent_colours
from stages.report.dirt import Dirt
from stages.report.grids import Grid
from stages.report.page import render
from stages.report.table import Row, headlines, ranked
from stages.report.tiles import data_uri
from stages.report.verdict import equal, verdict

CAPTIONS = {
    "accuracy_flops": "Linear-probe accuracy against everything that an arm was charged for. At one budget the arms stand above one "
    "another, and height alone decides.",
    "accuracy_gco2e": "The same against CO2e: equal FLOPs are not equal energy, because scoring, training and waiting for data draw "
    "power for different times.",
    "spending": "Where the FLOPs of each arm went. What is spent on the reference and on scoring is not spent on training: such an arm "
    "sees fewer images.",
    "dirt_shares": "Dirt among what each arm trained on, beside that of the pool version it chose from. An example trained on twice "
    "counts twice. A wrong label is dirt only to a method that reads labels.",
    "class_balance": "How many times as often as in the pool version an arm trained on each class, by the labels that the pool gives; "
    "1.00 is as often. A policy that leaves classes out shows here.",
    "dirt_over_training": "The same in the course of training, each point a part of the arm's own steps; the dashed line is the pool "
    "version.",
}


@dataclass(frozen=True)
class Content:
    """Everything that the page shows."""

    params: Params
    table: list[Row]
    protocols: dict[str, dict[str, list[str]]]
    dirt: Dirt
    accounting: Accounting
    pictures: dict[str, Path]
    grids: dict[str, list[Grid]]


def page(content: Content) -> str:
    """The HTML."""
    table = ranked(content.table)
    titles = headlines(table)
    return render(
        "report.html.j2",
        content=content,
        params=content.params,
        dirt=content.dirt,
        table=table,
        titles=titles,
        best=_best(table, list(titles)),
        others=_others(table, set(titles)),
        verdict=verdict(content.table, content.params.curate.splits.test, content.dirt),
        equal=equal(table),
        pictures={name: data_uri(path.read_bytes()) for name, path in content.pictures.items()},
        captions=CAPTIONS,
        spent=spent_colours(content.table),
        colours=dirt_colours(content.dirt.kinds),
        appendix=yaml.safe_dump(asdict(content.params), sort_keys=True, allow_unicode=True),
    )


def _best(table: list[Row], keys: list[str]) -> set[tuple[str, str]]:
    """(arm, metric) of the highest value within each method."""
    found = set()
    for method in {row["method"] for row in table}:
        rows = [row for row in table if row["method"] == method]
        for key in keys:
            top = max(row["tasks"].get(key, 0.0) for row in rows)
            found |= {(row["arm"], key) for row in rows if len(rows) > 1 and row["tasks"].get(key) == top}
    return found


def _others(table: list[Row], shown: set[str]) -> list[tuple[str, list[Any]]]:
    """The metrics without a column of their own: (TASK.METRIC, its value for each arm)."""
    keys = sorted({key for row in table for key in row["tasks"]} - shown)
    return [(key, [row["tasks"].get(key) for row in table]) for key in keys]
