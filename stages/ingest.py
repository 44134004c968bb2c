"""ingest@DATASET: convert a source into shards, an index and a list of dropped examples (winnow/pool/pool.py
lists them).

An interrupted run resumes from its last whole shard, and ends with the bytes of an unbroken one.
"""

from dataclasses import asdict
from pathlib import Path

from winnow.config.derive import roles
from winnow.config.errors import naming
from winnow.ingest.ingest import ingest_source
from winnow.pipeline.partial import deliver, partial_folder
from winnow.pipeline.progress import track
from winnow.pipeline.stage import Stage, main
from winnow.preflight import check_plugins

# What later stages may read; the rest is for reports.
READ = ("shards", "index.parquet", "classes.json", "annotations.parquet", "masks.parquet")


def ingest(stage: Stage) -> None:
    """Read the source of one dataset."""
    role, dataset = roles(stage.params)[stage.key]
    seed = stage.params.seed
    # The source's own files are no part of the key: whoever resumes reads them again, and compares.
    inputs = [asdict(dataset) | {"about": None}, seed]
    code = "winnow.ingest.ingest", f"winnow.sources.{dataset.source}"
    folder = partial_folder(stage.workspace.partial, f"ingest-{stage.key}", inputs, *code)
    stage.charge_attempts(folder)
    with naming(f"datasets.{role}.{stage.key}"):
        counts = ingest_source(dataset, seed, folder, track, stage.params.engine.cluster, resume=True)
    stage.metrics.update(counts)

    def place(path: Path) -> Path:
        within = Path("datasets", role) if path.parts[0] in READ else Path("provenance")
        return within / stage.key / path

    deliver(folder, stage.work, place)


if __name__ == "__main__":
    main(ingest, check_plugins)
