"""report.html: the comparison as one page that opens offline, from the verdict to the settings."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from winnow.config.schema import Params
from winnow.report.compare.accounting import Accounting
from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.grids import Grid
from winnow.report.compare.look import corruption_colours, spent_colours
from winnow.report.compare.table import Row, headlines, ranked
from winnow.report.compare.verdict import equal, verdict
from winnow.report.compare.wiring import wiring
from winnow.report.page.render import render
from winnow.report.page.tiles import data_uri


@dataclass(frozen=True)
class Content:
    """Everything that the page shows."""

    params: Params
    table: list[Row]
    protocols: dict[str, dict[str, list[str]]]
    corruption: CorruptionShares
    accounting: Accounting
    pictures: dict[str, Path]
    grids: dict[str, list[Grid]]


def page(content: Content) -> str:
    """The page as HTML."""
    table = ranked(content.table)
    titles = headlines(table)
    return render(
        Path(__file__).with_name("report.html.j2"),
        content=content,
        params=content.params,
        corruption=content.corruption,
        table=table,
        titles=titles,
        best=_best(table, list(titles)),
        others=_others(table, set(titles)),
        verdict=verdict(content.table, content.params.curate.splits.test, content.corruption),
        wiring=wiring(content.params),
        equal=equal(table),
        pictures={name: data_uri(path.read_bytes()) for name, path in content.pictures.items()},
        spent=spent_colours(content.table),
        colours=corruption_colours(content.corruption.kinds),
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
