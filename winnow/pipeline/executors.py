"""Who does the work: helper processes of this machine, or a Dask cluster by one key; the same results in the
same order.

    for result in ordered(work, chunks, cluster): ...

`cluster` is null for helper processes, one for each core that this process may use; the address of a running
Dask scheduler (`tcp://host:8786`); or `local` for a Dask cluster of worker processes on this machine. Dask's
workers need this project installed, in the same versions: what comes out depends on its libraries and not on
who ran them.

A worker that dies takes no result along: its work is done again, by Dask itself or here by new helpers, and
each chunk's result is given once. A chunk whose worker dies again while nothing else is worked on is the one
that kills. Dask's `retries` is for tasks that raise; here an exception of `work` goes to the caller, as with
`map`.
"""

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

AHEAD = 2  # chunks for each worker that are sent before the oldest result is asked for


class WorkerKilled(ValueError):
    """A chunk ended its worker process, twice."""


@dataclass
class _Sent:
    """A chunk and its future, Dask's or the standard library's: `result()`, `exception()`."""

    chunk: Any
    future: Any


class Executor(Protocol):
    """Works on chunks in other processes."""

    worker_died: tuple[type[BaseException], ...]  # what a future raises when its worker died
    unreachable: tuple[type[BaseException], ...]  # and when the executor as a whole is gone

    def submit(self, chunk: Any) -> Any:
        """Begin a chunk; its future."""
        ...

    def workers(self) -> int:
        """How many chunks are worked on at once."""
        ...

    def renew(self) -> None:
        """Replace workers that died."""
        ...

    def close(self) -> None:
        """End all workers that were started here."""
        ...


def ordered(
    work: Callable[[Chunk], Result],
    chunks: Iterable[Chunk],
    cluster: str | None = None,
    killed: Callable[[Chunk], Result] | None = None,
) -> Iterator[Result]:
    """`map(work, chunks)` by many processes: results in the chunks' order, a few chunks ahead of the one
    asked for.

    Args:
        work: picklable, as are each chunk and each result; sent once to each worker, so it may hold what all
            chunks need.
        killed: gives the result of a chunk that ends its worker; without it such a chunk is an error.

    Raises:
        WorkerKilled: for a chunk that ended its worker process twice.
        ValueError: when the cluster cannot be reached, or is lost; one line, with what to do.
    """
    with closing(_open(work, cluster)) as executor:
        sent: deque[_Sent] = deque()
        try:
            for chunk in chunks:
                sent.append(_Sent(chunk, executor.submit(chunk)))
                while len(sent) > AHEAD * executor.workers():
                    yield _first(executor, sent, killed)
            while sent:
                yield _first(executor, sent, killed)
        except executor.unreachable as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(
                f"engine.cluster: {cluster!r}: the Dask scheduler is lost ({why}); start it again and run "
                f"again"
            ) from None


def _open(work: Callable[[Any], Any], cluster: str | None) -> Executor:
    if cluster is None:
        return LocalProcesses(work)
    from winnow.pipeline.dask_executor import DaskCluster

    return DaskCluster(work, cluster)


def _first(executor: Executor, sent: deque[_Sent], killed: Callable[[Any], Any] | None) -> Any:
    if isinstance(sent[0].future.exception(), executor.worker_died):
        again = [item for item in sent if isinstance(item.future.exception(), executor.worker_died)]
        executor.renew()
        for item in again:
            item.future = _alone(executor, item.chunk, killed)
    return sent.popleft().future.result()


def _alone(executor: Executor, chunk: Any, killed: Callable[[Any], Any] | None) -> Any:
    """Work on a chunk while no other is worked on: if the worker dies again, it is this chunk that kills."""
    future = executor.submit(chunk)
    if isinstance(future.exception(), executor.worker_died):
        executor.renew()
        if killed is None:
            raise WorkerKilled(
                f"a worker process died twice on the same chunk, {_short(chunk)}; most likely it ran out of "
                f"memory"
            )
        future = Future()
        future.set_result(killed(chunk))
    return future


def _short(chunk: Any) -> str:
    words = " ".join(repr(chunk).split())
    return words if len(words) < 100 else words[:97] + "..."


class LocalProcesses:
    """Processes of this machine."""

    worker_died: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    unreachable: tuple[type[BaseException], ...] = ()

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._count = len(os.sched_getaffinity(0))
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # spawn: a fork would take along the parent's signal handlers and the locks of its threads
        context = get_context("spawn")
        return ProcessPoolExecutor(self._count, context, initializer=_start_helper, initargs=(self._work,))

    def submit(self, chunk: Any) -> "Future[Any]":
        try:
            return self._pool.submit(_help, chunk)
        except BrokenProcessPool as error:
            future: Future[Any] = Future()
            future.set_exception(error)
            return future

    def workers(self) -> int:
        return self._count

    def renew(self) -> None:
        """A pool that lost one helper ends the others and is of no more use."""
        self._pool.shutdown()
        self._pool = self._start()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


_work: list[Callable[[Any], Any]] = []  # in a helper: what it does


def _start_helper(work: Callable[[Any], Any]) -> None:
    """Leave Ctrl-C to the parent, and do not outlive it, not even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _work.append(work)


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _help(chunk: Any) -> Any:
    return _work[0](chunk)
