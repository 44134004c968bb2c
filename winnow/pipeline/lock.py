"""One process a stage address: two would empty each other's work folder and share a checkpoint."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

PATIENCE = 10.0  # seconds: a stage whose dvc was killed takes a moment to end


@contextmanager
def exclusive(path: Path, what: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a lock file while inside; the lock ends with the process, however that ends.

    Raises:
        ValueError: when another process still holds it after `patience` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + patience
        while not _taken(file):
            if time.monotonic() > deadline:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise ValueError(f"{what} is already running as process {holder}; wait for it, or end it")
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
