"""Long work over a matrix of embeddings in parts, which are computed side by side and cached when finished.

A part is a pure function of its inputs and runs on one BLAS thread, so the result depends neither on the
number of threads nor on whether a run was interrupted and resumed. There are as many threads as BLAS was
given ($OMP_NUM_THREADS, $OPENBLAS_NUM_THREADS). One part per thread is also twice as fast as threads inside
the small products of which this work consists.
"""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from winnow.pipeline.files import replacing

SAMPLED_ROWS = 4096  # that tell one matrix from another

Arrays = dict[str, np.ndarray]
Compute = Callable[[], Arrays]
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]  # such as winnow.pipeline.progress.track


def untracked(items: Iterable[Any], total: int, description: str) -> Iterable[Any]:
    """Show no progress."""
    return items


@dataclass(frozen=True)
class PartCache:
    """A folder for finished parts, None to keep nothing, and what shows the progress over them."""

    folder: Path | None = None
    track: Track = untracked

    def for_inputs(self, matrix: np.ndarray, **settings: Any) -> "PartCache":
        """The cache in a subfolder for this matrix (n, d) and these settings.

        The name is a hash of the settings, the shape and 4,096 rows spread over the matrix: a guard against a
        mistake, not a checksum. A caller who changes single rows of a matrix must use another folder.
        """
        if self.folder is None:
            return self
        rows = np.linspace(0, max(len(matrix) - 1, 0), min(SAMPLED_ROWS, len(matrix))).astype(np.int64)
        facts = json.dumps([matrix.shape, str(matrix.dtype), settings], sort_keys=True, default=str)
        name = hashlib.sha256(facts.encode() + np.ascontiguousarray(matrix[rows]).tobytes()).hexdigest()
        return replace(self, folder=self.folder / name[:16])

    def subfolder(self, name: str) -> "PartCache":
        """The cache in a subfolder."""
        return self if self.folder is None else replace(self, folder=self.folder / name)

    def part(self, name: str, compute: Compute) -> Arrays:
        """The arrays that `compute` returns, or returned in an earlier run."""
        if self.folder is None:
            return compute()
        path = self.folder / f"{name}.npz"
        if path.exists():
            # A failing disk may leave half a file: then the part is computed again.
            with suppress(OSError, ValueError, EOFError, BadZipFile), np.load(path) as saved:
                return dict(saved)
        arrays = compute()
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        return arrays

    def parts(self, computes: Mapping[str, Compute], description: str) -> Iterator[Arrays]:
        """The arrays of each part by its name, in order, with at most two parts per thread in memory."""
        blas = (pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
        threads = max(blas, default=1)
        futures: deque[Any] = deque()
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as executor:
            for name, compute in self.track(computes.items(), len(computes), description):
                if len(futures) > threads:
                    yield futures.popleft().result()
                futures.append(executor.submit(self.part, name, compute))
            while futures:
                yield futures.popleft().result()


NO_CACHE = PartCache()
_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def keeping_parts_in(folder: Path) -> Iterator[None]:
    """Within this context `part_cache` keeps finished parts in the folder.

    A context, because filters are called with tables and their config alone.
    """
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


def part_cache(track: Track = untracked) -> PartCache:
    """The cache of the folder that `keeping_parts_in` has set, outside of it one that keeps nothing."""
    return PartCache(_FOLDER.get(), track)
