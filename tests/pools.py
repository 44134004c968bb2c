"""Pools for tests: `from tests.pools import ingest`."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from winnow.config.datasets import Dataset
from winnow.ingest.ingest import ingest_source
from winnow.pool.pool import Pool


def silent(items: Iterable[Any], **_: Any) -> Iterator[Any]:
    """In place of a progress bar."""
    yield from items


def ingest(folder: Path, dataset: Dataset, seed: int = 0, **options: Any) -> tuple[dict[str, int], Pool]:
    """Ingest a source into a folder, which is made if it is not there; the counts, and the pool."""
    folder.mkdir(parents=True, exist_ok=True)
    counts = ingest_source(dataset, seed, folder, silent, **options)
    return counts, Pool.open(folder)


def table(folder: Path, name: str) -> list[dict[str, Any]]:
    """The rows of one of a pool's tables."""
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def digests(folder: Path) -> dict[str, str]:
    """File name -> hash of its bytes, for every file of a pool."""
    return {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.*"))}
