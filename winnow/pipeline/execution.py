"""One execution of the pipeline: what names it, and what ends with it."""

import os
import signal
import threading
import time
from functools import cache
from typing import Any


@cache
def dvc_processes() -> tuple[Any, ...]:
    """This process's ancestors up to the outermost `dvc repro`, nearest first; none where dvc did not start
    it.
    """
    import psutil

    parents = psutil.Process().parents()
    runs_dvc = [
        i for i, p in enumerate(parents) if "dvc" in " ".join(p.cmdline()[:3]) and "repro" in p.cmdline()
    ]
    return tuple(parents[: runs_dvc[-1] + 1]) if runs_dvc else ()


def execution() -> str:
    """The name of this execution: $WINNOW_EXECUTION, or of the dvc process that started all its stages."""
    if named := os.environ.get("WINNOW_EXECUTION"):
        return named
    import psutil

    top = (dvc_processes() or (psutil.Process(),))[-1]
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(top.create_time())) + f"-{top.pid}"


def process_seconds() -> float:
    """How long this process has been running, its imports included."""
    import psutil

    return time.time() - float(psutil.Process().create_time())


def end_with_dvc(seconds: float = 0.5) -> None:
    """End this process by SIGTERM soon after a dvc process that it descends from has ended, however that did.

    Without it a trainer outlives a dvc that was killed, and the next `dvc repro` starts a second one beside
    it.
    """
    if chain := dvc_processes():
        threading.Thread(target=_watch, args=(chain, seconds), daemon=True).start()


def _watch(chain: tuple[Any, ...], seconds: float) -> None:
    while all(process.is_running() and process.status() != "zombie" for process in chain):
        time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGTERM)
