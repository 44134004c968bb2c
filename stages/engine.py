"""Who does the work: helper processes of this machine, or a Dask cluster by one key; the same results in the same order.

    for result in ordered(work, chunks, cluster): ...

`cluster` is null for helper processes, one for each core that this process may use; the address of a running Dask scheduler
(`tcp://host:8786`); or `local` for a Dask cluster of worker processes on this machine. Dask's workers need this project
installed, in the same versions: what comes out depends on its libraries and not on who ran them.

A worker that dies takes no result along: what it had is done again, by Dask itself or here by new helpers, and each chunk's
result is given once. A chunk whose worker dies again while nothing else is worked on is the one that kills. Dask's
`retries` is for tasks that raise; here an exception of `work` goes to the caller, as with `map`.
"""

import logging
import os
import pickle
import signal
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from typing import Any, Protocol, TypeVar

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

LOCAL = "local"
AHEAD = 2  # chunks for each worker that are sent before the oldest result is wanted
CONNECT_SECONDS = 30  # a scheduler must answer by then, and have a worker


class WorkerKilled(ValueError):
    """A chunk ended its worker process, twice."""


@dataclass
class _Sent:
    """A chunk and its future, Dask's or the standard library's: `result()`, `exception()`."""

    chunk: Any
    future: Any


class _Engine(Protocol):
    lost: tuple[type[BaseException], ...]  # what a future raises when its worker died
    gone: tuple[type[BaseException], ...]  # and when the whole engine did

    def submit(self, chunk: Any) -> Any: ...
    def workers(self) -> int: ...
    def renew(self) -> None: ...
    def close(self) -> None: ...


def ordered(
    work: Callable[[Chunk], Result],
    chunks: Iterable[Chunk],
    cluster: str | None = None,
    killed: Callable[[Chunk], Result] | None = None,
) -> Iterator[Result]:
    """`map(work, chunks)` by many processes: results in the chunks' order, a few chunks ahead of the one wanted.

    `work`, each chunk and each result must be picklable; `work` is sent once to each worker, so it may hold what all chunks need.
    `killed` gives the result of a chunk that ends its worker; without it such a chunk is an error.

    Raises:
        WorkerKilled: for a chunk that ended its worker process twice.
        ValueError: when the cluster cannot be reached, or is lost; one line, with what to do.
    """
    with closing(_Helpers(work) if cluster is None else _Dask(work, cluster)) as engine:
        sent: deque[_Sent] = deque()
        try:
            for chunk in chunks:
                sent.append(_Sent(chunk, engine.submit(chunk)))
                while len(sent) > AHEAD * engine.workers():
                    yield _first(engine, sent, killed)
            while sent:
                yield _first(engine, sent, killed)
        except engine.gone as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(f"engine.cluster: {cluster!r}: the Dask scheduler is lost ({why}); start it again and run again") from None


def _first(engine: _Engine, sent: deque[_Sent], killed: Callable[[Any], Any] | None) -> Any:
    if isinstance(sent[0].future.exception(), engine.lost):
        again = [item for item in sent if isinstance(item.future.exception(), engine.lost)]
        engine.renew()
        for item in again:
            item.future = _alone(engine, item.chunk, killed)
    return sent.popleft().future.result()


def _alone(engine: _Engine, chunk: Any, killed: Callable[[Any], Any] | None) -> Any:
    """Work on a chunk while no other is worked on: if the worker dies again, it is this chunk that kills."""
    future = engine.submit(chunk)
    if isinstance(future.exception(), engine.lost):
        engine.renew()
        if killed is None:
            raise WorkerKilled(f"a worker process died twice on the same chunk, {_short(chunk)}; most likely for want of memory")
        future = Future()
        future.set_result(killed(chunk))
    return future


def _short(chunk: Any) -> str:
    words = " ".join(repr(chunk).split())
    return words if len(words) < 100 else words[:97] + "..."


class _Helpers:
    """Processes of this machine."""

    lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    gone: tuple[type[BaseException], ...] = ()

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._count = len(os.sched_getaffinity(0))
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        # spawn: a fork would take along the parent's signal handlers and the locks of its threads
        return ProcessPoolExecutor(self._count, get_context("spawn"), initializer=_be_helper, initargs=(self._work,))

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


_held: list[Callable[[Any], Any]] = []  # in a helper: what it does


def _be_helper(work: Callable[[Any], Any]) -> None:
    """Leave Ctrl-C to the parent, and do not outlive it, not even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _held.append(work)


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _help(chunk: Any) -> Any:
    return _held[0](chunk)


class _Dask:
    """The workers of a Dask cluster."""

    def __init__(self, work: Callable[[Any], Any], cluster: str) -> None:
        try:
            import distributed
        except ImportError:
            raise ValueError(f"engine.cluster: {cluster!r} needs Dask; install it with: pip install 'winnow[cluster]'") from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost worker is dealt with here
        self.lost: tuple[type[BaseException], ...] = (distributed.scheduler.KilledWorker,)
        self.gone: tuple[type[BaseException], ...] = (distributed.client.FutureCancelledError, distributed.comm.CommClosedError)
        with ExitStack() as opened:
            try:
                place = opened.enter_context(_local_cluster()) if cluster == LOCAL else cluster
                self._client = opened.enter_context(distributed.Client(place, timeout=CONNECT_SECONDS, set_as_default=False))
                self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            except (OSError, ValueError) as error:  # TimeoutError is an OSError
                why = " ".join(str(error).split())[:200] or type(error).__name__
                raise ValueError(
                    f"engine.cluster: {cluster!r}: no Dask scheduler with workers ({why}); start one, or set null"
                ) from None
            self._held = self._take(work, cluster)
            self._opened = opened.pop_all()

    def _take(self, work: Callable[[Any], Any], cluster: str) -> Any:
        """A task whose result is `work`: Dask holds it on the workers, and makes it again where a worker is lost.

        Everything travels as bytes that a task opens: what a worker cannot import where Dask itself opens it would hang.
        """
        try:
            self._client.run(exec, "import stages.engine")
            held = self._client.submit(pickle.loads, pickle.dumps(work), pure=False)
            self._client.submit(_nothing, held, pure=False).result()
        except (ImportError, AttributeError) as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(
                f"engine.cluster: {cluster!r}: a worker cannot take the work ({why}); install this project there"
            ) from None
        return held

    def submit(self, chunk: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Sending large graph")  # a photograph; scattered data would be lost with its worker
            return self._client.submit(_call, self._held, pickle.dumps(chunk), pure=False)

    def workers(self) -> int:
        return max(1, sum(self._client.nthreads().values()))

    def renew(self) -> None:
        """Nothing to do: a Dask cluster replaces its workers by itself."""

    def close(self) -> None:
        self._opened.close()


def _local_cluster() -> Any:
    from distributed import LocalCluster

    # Done again once by Dask itself. Memory has no limit here that helper processes have not, or the engine would show in the result.
    return LocalCluster(
        len(os.sched_getaffinity(0)),
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"allowed_failures": 1},
    )


def _nothing(work: Callable[[Any], Any]) -> None:
    """Only what it waits for counts."""


def _call(work: Callable[[Any], Any], chunk: bytes) -> Any:
    return work(pickle.loads(chunk))
