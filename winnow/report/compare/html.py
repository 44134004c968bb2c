"""report.html: the comparison as one page that opens offline, from the verdict to the settings."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import yaml

from winnow.config.schema import Params
from winnow.report.compare.accounting import Accounting
from winnow.report.compare.break_even import Worth
from winnow.report.compare.columns import Column, Row, headlines, main_column, others
from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.differences import Differences
from winnow.report.compare.fairness import equal
from winnow.report.compare.grids import Grid
from winnow.report.compare.groups import Group
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.look import corruption_colours, spent_colours
from winnow.report.compare.markdown import legend
from winnow.report.compare.plots import VIEW_PICTURES
from winnow.report.compare.progress import Progress
from winnow.report.compare.progress_text import at_equal, sooner
from winnow.report.compare.table import choice, is_oracle, ranked
from winnow.report.compare.verdict import Verdict, against_best_control
from winnow.report.compare.views import VIEWS
from winnow.report.compare.wiring import wiring
from winnow.report.compare.worth import known
from winnow.report.page import numbers
from winnow.report.page.render import render
from winnow.report.page.tiles import data_uri


@dataclass(frozen=True)
class Content:
    """Everything that the page shows."""

    params: Params
    groups: list[Group]
    intervals: Intervals
    verdict: Verdict
    protocols: dict[str, dict[str, list[str]]]
    corruption: CorruptionShares
    accounting: Accounting
    pictures: dict[str, Path]
    grids: dict[str, list[Grid]]
    worth: Worth
    progress: Sequence[Progress] = ()
    differences: Differences | None = None


def page(content: Content) -> str:
    """The page as HTML."""
    table, intervals = ranked(group.row for group in content.groups), content.intervals
    columns, named = headlines(table), {group.name: group for group in content.groups}
    several = max((len(group.rows) for group in content.groups), default=1) > 1
    return render(
        Path(__file__).with_name("report.html.j2"),
        content=content,
        params=content.params,
        corruption=content.corruption,
        table=table,
        columns=columns,
        groups=_groups(columns),
        known=known,
        worth=content.worth,
        best=_best(table, columns),
        others=[(one.name, [one.value(row) for row in table]) for one in others(table)],
        choice=choice,
        is_oracle=is_oracle,
        oracles=any(is_oracle(row) for row in table),
        verdict=content.verdict,
        margins={
            (row["arm"], one): numbers.margin(intervals.of(row["arm"], one))
            for row in table
            for one in columns
        },
        against=against_best_control(content.groups, intervals),
        main=main_column(table),
        seeds={name: [row["seed"] for row in group.rows] for name, group in named.items()},
        each_seed=[one for row in table for one in named[row["arm"]].rows] if several else [],
        legend=legend(several),
        spent_in_all=sum(row["flops"]["total"] for group in content.groups for row in group.rows) or 1,
        estimated=any(row["energy_quality"] == "estimated" for row in table),
        wiring=wiring(content.params),
        equal=equal(table),
        pictures={name: data_uri(path.read_bytes()) for name, path in content.pictures.items()},
        views=VIEWS,
        names=VIEW_PICTURES,
        differences=content.differences,
        courses=[(one.family.name, at_equal(one), sooner(one)) for one in content.progress],
        spent=spent_colours(table),
        colours=corruption_colours(content.corruption.kinds),
        appendix=yaml.safe_dump(asdict(content.params), sort_keys=True, allow_unicode=True),
    )


def _best(table: list[Row], columns: list[Column]) -> set[tuple[str, Column]]:
    """(arm, column) of the highest value within each method; an oracle does not count."""
    found = set()
    for method in {row["method"] for row in table}:
        rows = [row for row in table if row["method"] == method and not is_oracle(row)]
        for column in columns:
            values = {row["arm"]: column.value(row) for row in rows}
            top = max((value for value in values.values() if value is not None), default=None)
            found |= {
                (arm, column)
                for arm, value in values.items()
                if len(rows) > 1 and value is not None and value == top
            }
    return found


def _groups(columns: list[Column]) -> list[tuple[str, int]]:
    """The headings above the columns and how many each spans; none where all are of one set."""
    groups = [(group, len(list(some))) for group, some in groupby(columns, key=lambda one: one.group)]
    return groups if len(groups) > 1 else []
