"""compare: every arm that params.yaml names, side by side: table.json, table.md, plots/ and report.html.

It reads the files that the other stages wrote, and imports no torch.
"""

from winnow.pipeline.stage import Stage, main
from winnow.report.compare.write import write


def compare(stage: Stage) -> None:
    """Write the comparison, and print its table."""
    stage.metrics.update(write(stage.params, stage.workspace, stage.work))
    print((stage.work / "table.md").read_text(encoding="utf-8"), end="")


if __name__ == "__main__":
    main(compare)
