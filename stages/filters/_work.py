"""Long work over a matrix of embeddings: parts are done side by side, finished ones are kept, and somebody may watch.

A part is a pure function of its inputs and runs on one BLAS thread, so the answer depends neither on the number of threads nor
on whether a run was killed and went on. There are as many threads as BLAS was given ($OMP_NUM_THREADS, $OPENBLAS_NUM_THREADS).
One part a thread is also twice as fast as threads inside the small products of which this work consists.
"""

import hashlib
import json
import os
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

SPOTS = 4096  # rows that are looked at to tell one matrix from another

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
Arrays = dict[str, np.ndarray]


def quiet(items: Iterable[Any], total: int, description: str) -> Iterable[Any]:
    """Shows nothing. `stages.progress.track` takes its place where somebody looks."""
    return items


_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """What `lasting` gives inside keeps its finished parts in this folder. Filters are called with tables and a config alone."""
    token = _FOLDER.set(folder)
    try:
        yield
    finally:
        _FOLDER.reset(token)


@dataclass(frozen=True)
class Work:
    """Where finished parts are kept, None for nowhere, and what iterates over the parts and may show how far they are."""

    folder: Path | None = None
    track: Track = quiet

    def on(self, matrix: np.ndarray, **settings: Any) -> "Work":
        """The same in a folder of its own for this matrix (n, d) and these settings.

        The name is a hash of the settings, the shape and 4,096 rows spread over the matrix: a guard against a mistake, not a
        checksum. Whoever changes single rows of a matrix gives it another folder.
        """
        if self.folder is None:
            return self
        spots = np.linspace(0, max(len(matrix) - 1, 0), min(SPOTS, len(matrix))).astype(np.int64)
        facts = json.dumps([matrix.shape, str(matrix.dtype), settings], sort_keys=True, default=str)
        name = hashlib.sha256(facts.encode() + np.ascontiguousarray(matrix[spots]).tobytes()).hexdigest()
        return replace(self, folder=self.folder / name[:16])

    def at(self, name: str) -> "Work":
        """The same, one folder down."""
        return self if self.folder is None else replace(self, folder=self.folder / name)

    def once(self, name: str, make: Callable[[], Arrays]) -> Arrays:
        """What `make` gives, or gave in an earlier run. A kill while writing leaves nothing under the part's name."""
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.npz"
        if path.exists():
            with suppress(OSError, ValueError, EOFError, BadZipFile), np.load(path) as kept:  # a lost disk may leave half a file: again
                return dict(kept)
        made = make()
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}.unfinished")
        with unfinished.open("wb") as file:
            np.savez(file, **made)  # type: ignore[arg-type]
        os.replace(unfinished, path)
        return made

    def parts(self, makes: Mapping[str, Callable[[], Arrays]], description: str) -> Iterator[Arrays]:
        """What each part gives, in order, no more than two a thread in memory. The names are those of `once`."""
        threads = max((pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"), default=1)
        todo: deque[Any] = deque()
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(threads) as executor:
            for name, make in self.track(makes.items(), len(makes), description):
                if len(todo) > threads:
                    yield todo.popleft().result()
                todo.append(executor.submit(self.once, name, make))
            while todo:
                yield todo.popleft().result()


def lasting(track: Track = quiet) -> Work:
    """Work whose finished parts outlive a kill, where whoever calls the filters gave a folder for them (`kept_in`)."""
    return Work(_FOLDER.get(), track)
