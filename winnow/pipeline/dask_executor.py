"""The workers of a Dask cluster, as winnow/pipeline/executors.py uses them."""

import logging
import os
import pickle
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

LOCAL = "local"
CONNECT_SECONDS = 30  # a scheduler must answer by then, and have a worker


class DaskCluster:
    """A running scheduler by its address, or for `local` a cluster that is started here.

    Raises:
        ValueError: if Dask is not installed, or no scheduler with workers answers.
    """

    worker_died: tuple[type[BaseException], ...]
    unreachable: tuple[type[BaseException], ...]

    def __init__(self, work: Callable[[Any], Any], cluster: str) -> None:
        try:
            import distributed
        except ImportError:
            raise ValueError(
                f"engine.cluster: {cluster!r} needs Dask; install it with: pip install 'winnow[cluster]'"
            ) from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a worker that died is dealt with here
        self.worker_died = (distributed.scheduler.KilledWorker,)
        self.unreachable = (distributed.client.FutureCancelledError, distributed.comm.CommClosedError)
        with ExitStack() as opened:
            try:
                address = opened.enter_context(_local_cluster()) if cluster == LOCAL else cluster
                client = distributed.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
                self._client = opened.enter_context(client)
                self._client.wait_for_workers(1, timeout=CONNECT_SECONDS)
            except (OSError, ValueError) as error:  # TimeoutError is an OSError
                why = " ".join(str(error).split())[:200] or type(error).__name__
                raise ValueError(
                    f"engine.cluster: {cluster!r}: no Dask scheduler with workers ({why}); start one, or "
                    f"set null"
                ) from None
            self._work = self._send(work, cluster)
            self._opened = opened.pop_all()

    def _send(self, work: Callable[[Any], Any], cluster: str) -> Any:
        """A task whose result is `work`: Dask keeps it on the workers, and makes it again where a worker
        died.

        Everything travels as bytes that a task opens: what a worker cannot import where Dask itself opens it
        would hang.
        """
        try:
            self._client.run(exec, "import winnow.pipeline.dask_executor")
            sent = self._client.submit(pickle.loads, pickle.dumps(work), pure=False)
            self._client.submit(_nothing, sent, pure=False).result()
        except (ImportError, AttributeError) as error:
            why = " ".join(str(error).split())[:200]
            raise ValueError(
                f"engine.cluster: {cluster!r}: a worker cannot take the work ({why}); install this project "
                f"there"
            ) from None
        return sent

    def submit(self, chunk: Any) -> Any:
        with warnings.catch_warnings():
            # A photograph; scattered data would be lost with its worker.
            warnings.filterwarnings("ignore", "Sending large graph")
            return self._client.submit(_call, self._work, pickle.dumps(chunk), pure=False)

    def workers(self) -> int:
        return max(1, sum(self._client.nthreads().values()))

    def renew(self) -> None:
        """Nothing to do: a Dask cluster replaces its workers by itself."""

    def close(self) -> None:
        self._opened.close()


def _local_cluster() -> Any:
    from distributed import LocalCluster

    # Done again once by Dask itself. Memory has no limit here that helper processes do not have, or the
    # executor would show in the result.
    return LocalCluster(
        len(os.sched_getaffinity(0)),
        threads_per_worker=1,
        memory_limit=0,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        scheduler_kwargs={"allowed_failures": 1},
    )


def _nothing(work: Callable[[Any], Any]) -> None:
    """Only that its argument is there counts."""


def _call(work: Callable[[Any], Any], chunk: bytes) -> Any:
    return work(pickle.loads(chunk))
