"""All files of a comparison: table.json, table.md, plots/ and report.html."""

from pathlib import Path
from typing import Any

from winnow.config.schema import Params
from winnow.evaluation.curve import Row as Reading
from winnow.pipeline.files import write_json
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import open_pool
from winnow.pool.uids import load
from winnow.report.compare import accounting, balance, columns, corruption, grids, html, plots, table
from winnow.report.compare.inputs import curve, trace
from winnow.report.compare.markdown import markdown
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
    curves: dict[str, list[Reading]] = {arm: curve(workspace, arm) for arm in params.arms}
    found = corruption.read(pool, workspace, traces)
    write_json(out / "table.json", rows)
    shares = {arm: found.total(arm) for arm in params.arms}
    (out / "table.md").write_text(markdown(rows, shares, wiring(params)), encoding="utf-8")
    pictures = plots.draw(out / "plots", rows, curves, found, balance.read(pool, workspace, traces))
    shown = {arm: grids.of_trace(pool, one, found.rows) for arm, one in traces.items() if grids.scored(one)}
    protocols, counted = table.protocols(params, workspace), accounting.read(workspace)
    tested = {name: len(load(workspace.split(name, "test"))) for name in params.datasets.tasks}
    content = html.Content(params, rows, protocols, found, counted, pictures, shown, tested)
    (out / "report.html").write_text(html.page(content), encoding="utf-8")
    return {row["arm"]: _headline(row, shares[row["arm"]]) for row in rows}


def _headline(row: columns.Row, corrupted: float) -> dict[str, float]:
    values = {}
    for one in columns.headlines([row]):
        value = one.value(row)
        if value is not None and len(one.sets) == 1:
            values[f"{one.group}_{one.metric.replace('.', '_')}"] = value
    return {**values, "corrupted_share": round(corrupted, 6), "flops": row["flops"]["total"]}
