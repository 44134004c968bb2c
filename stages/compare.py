"""compare: every arm that params.yaml names, side by side: table.json, table.md, plots/ and report.html.

It reads the files that the other stages wrote, and imports no torch.
"""

from pathlib import Path
from typing import Any

from stages.data.pool import Pool
from stages.params import ROOT, Params
from stages.report import accounting, balance, dirt, grids, html, plots, table
from stages.report.files import curve, trace
from stages.stage import Stage, main, write_json


def compare(stage: Stage) -> None:
    """Write the comparison, and print its table."""
    stage.metrics.update(write(stage.params, ROOT, stage.work))
    print((stage.work / "table.md").read_text(encoding="utf-8"), end="")


def write(params: Params, root: Path, out: Path) -> dict[str, Any]:
    """Write all files of the comparison into the folder `out`; the headline numbers of each arm, without time and energy.

    Raises:
        ValueError: naming the first file of an arm that is missing, and the command that makes it.
    """
    rows = table.rows(params, root)
    pool = Pool.open(root / "data/pool")
    found = dirt.read(params, pool, root)
    write_json(out / "table.json", rows)
    dirty = {arm: found.total(arm) for arm in params.arms}
    (out / "table.md").write_text(table.markdown(rows, dirty), encoding="utf-8")
    curves = {arm: curve(root, arm) for arm in params.arms}
    pictures = plots.draw(out / "plots", rows, curves, found, balance.read(params, pool, root))
    protocols, counted = table.protocols(params, root), accounting.read(params, root)
    content = html.Content(params, rows, protocols, found, counted, pictures, _grids(params, pool, found, root))
    (out / "report.html").write_text(html.page(content), encoding="utf-8")
    return {row["arm"]: _headline(row, dirty[row["arm"]]) for row in rows}


def _grids(params: Params, pool: Pool, found: dirt.Dirt, root: Path) -> dict[str, list[grids.Grid]]:
    traces = ((arm, trace(root, arm)) for arm in params.arms)
    return {arm: grids.of_trace(pool, what, found.rows) for arm, what in traces if grids.scored(what)}


def _headline(row: table.Row, dirty: float) -> dict[str, float]:
    values = {key.replace(".", "_"): row["tasks"][key] for key in table.headlines([row])}
    return {**values, "dirt_trained_on": round(dirty, 6), "flops": row["flops"]["total"]}


if __name__ == "__main__":
    main(compare)
