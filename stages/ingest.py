"""ingest: convert a source into shards, an index and a list of dropped examples (winnow/pool/pool.py lists
them).

An interrupted run resumes from its last whole shard, and ends with the bytes of an unbroken one.
"""

from dataclasses import asdict

from winnow.ingest.ingest import ingest_source
from winnow.pipeline.partial import deliver, partial_folder
from winnow.pipeline.progress import track
from winnow.pipeline.stage import Stage, main
from winnow.preflight import check_plugins


def ingest(stage: Stage) -> None:
    """Read `dataset.source` into the pool."""
    dataset, seed = stage.params.dataset, stage.params.seed
    # The source's own files are no part of the key: whoever resumes reads them again, and compares.
    inputs = [asdict(dataset) | {"about": None}, seed]
    code = "winnow.ingest.ingest", f"winnow.sources.{dataset.source}"
    folder = partial_folder(stage.workspace.partial, "ingest", inputs, *code)
    counts = ingest_source(dataset, seed, folder, track, stage.params.engine.cluster, resume=True)
    stage.metrics.update(counts)
    deliver(folder, stage.work)


if __name__ == "__main__":
    main(ingest, check_plugins)
