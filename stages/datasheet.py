"""datasheet@VERSION: a version as a page to look at: what it holds and what not and why, with counts and
pictures.

A view of the version's own files, on which nothing depends. Its cluster map is of embeddings where the model
that made the version has left them here, else of perceptual hashes; the page says which.
"""

from winnow.pipeline.stage import Stage, main
from winnow.pool.pool import open_pool
from winnow.report.version.card import write_card


def datasheet(stage: Stage) -> None:
    """Write card.html."""
    stage.metrics["examples"] = write_card(
        stage.work / "card.html",
        stage.workspace,
        open_pool(stage.workspace, stage.params.datasets),
        stage.key,
    )


if __name__ == "__main__":
    main(datasheet)
