"""All files of a comparison: table.json, intervals.json, table.md, plots/ and report.html."""

from pathlib import Path
from typing import Any

from winnow.config.schema import Params
from winnow.evaluation.curve import Row as Reading
from winnow.pipeline.files import write_json
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import open_pool
from winnow.report.compare import (
    accounting,
    balance,
    columns,
    corruption,
    grids,
    html,
    plots,
    progress,
    progress_text,
    table,
)
from winnow.report.compare.break_even import worth_of
from winnow.report.compare.differences import differences
from winnow.report.compare.groups import Group, grouped, mean_curves
from winnow.report.compare.inputs import timed_curve, trace, val_images
from winnow.report.compare.intervals import Intervals, outcomes_of
from winnow.report.compare.markdown import markdown
from winnow.report.compare.verdict import as_json, verdict
from winnow.report.compare.views import write_curves
from winnow.report.compare.wiring import wiring
from winnow.selection.trace import Trace


def write(params: Params, workspace: Workspace, out: Path) -> dict[str, Any]:
    """Write the comparison into the folder `out`; the headline numbers of each arm, without time and energy.

    Raises:
        ValueError: naming the first file of an arm that is missing, and the command that makes it.
    """
    rows = table.rows(params, workspace)
    pool = open_pool(workspace, params.datasets)
    traces: dict[str, Trace] = {arm: trace(workspace, arm) for arm in params.arms}
    curves: dict[str, list[Reading]] = {
        row["arm"]: timed_curve(workspace, row["arm"], row["seconds"]) for row in rows
    }
    found = corruption.read(pool, workspace, traces)
    groups = grouped(rows)
    means = [group.row for group in groups]
    intervals = Intervals(groups, outcomes_of(params, workspace))
    write_json(out / "table.json", rows)
    courses = progress.progress(groups, curves, val_images(params, workspace))
    write_json(out / "intervals.json", as_json(groups, intervals) | progress.as_json(courses))
    shown, balanced = found.of(groups), balance.read(pool, workspace, traces).of(groups)
    shares = {group.name: shown.total(group.name) for group in groups}
    said = verdict(groups, intervals)
    mean = mean_curves(groups, curves)
    even = worth_of(groups, mean, params.pretrain)
    text = markdown(groups, shares, intervals, wiring(params)) + said.markdown
    text += progress_text.markdown(courses) + even.markdown
    (out / "table.md").write_text(text, encoding="utf-8")
    seeds = {one.name: [curves[arm] for arm in one.arms] for one in groups if len(one.rows) > 1}
    pictures = plots.draw(out / "plots", means, mean, shown, balanced, intervals, seeds)
    write_curves(out / "curves.csv", mean)
    first = {group.name: traces[group.arms[0]] for group in groups}
    chosen = {name: grids.of_trace(pool, one, found.rows) for name, one in first.items() if grids.scored(one)}
    protocols = _of_groups(table.protocols(params, workspace), groups)
    counted = accounting.read(workspace)
    different = differences(params, groups, Stages.read(workspace.root))
    content = html.Content(
        params,
        groups,
        intervals,
        said,
        protocols,
        shown,
        counted,
        pictures,
        chosen,
        even,
        courses,
        different,
    )
    (out / "report.html").write_text(html.page(content), encoding="utf-8")
    return {row["arm"]: _headline(row, found.total(row["arm"])) for row in rows}


def _of_groups(
    protocols: dict[str, dict[str, list[str]]], groups: list[Group]
) -> dict[str, dict[str, list[str]]]:
    """The protocols with the names of groups in place of their arms."""
    name = {arm: group.name for group in groups for arm in group.arms}
    return {
        task: {protocol: list(dict.fromkeys(name[arm] for arm in arms)) for protocol, arms in found.items()}
        for task, found in protocols.items()
    }


def _headline(row: columns.Row, corrupted: float) -> dict[str, float]:
    values = {}
    for one in columns.headlines([row]):
        value = one.value(row)
        if value is not None and len(one.sets) == 1:
            values[f"{one.group}_{one.metric.replace('.', '_')}"] = value
    return {**values, "corrupted_share": round(corrupted, 6), "flops": row["flops"]["total"]}
