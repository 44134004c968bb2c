"""Child processes that end with their owner: each leads a process group of its own, and the group is what is
stopped.

A signal to the `dvc` process alone would leave the stage's command running (seen with DVC 3.67).
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

# for each of three ever firmer attempts: less in all than the 30 s after which Prefect kills a cancelled flow
STOP_SECONDS = 8.0


class Stopped(Exception):
    """No child is started any more: the owner is ending."""


class Children:
    """Starts processes in `folder` with `environment`, and stops all that is left of their groups."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.stopped = False
        self._groups: list[subprocess.Popen[str]] = []
        self._lock = threading.Lock()

    def start(self, command: Sequence[str], output: int | None = subprocess.PIPE) -> "subprocess.Popen[str]":
        """Start a process in a session of its own, stderr joined to stdout."""
        with self._lock:
            if self.stopped:
                raise Stopped
            child = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                bufsize=1,
                start_new_session=True,
            )
            self._groups.append(child)
        return child

    def run(self, command: Sequence[str], line: Callable[[str], None]) -> int:
        """Run to the end and call `line` with each line as it comes. Raises Stopped where `stop` came in
        between.
        """
        child = self.start(command)
        assert child.stdout is not None
        with child.stdout:
            for text in child.stdout:
                line(text.rstrip())
        code = child.wait()
        if self.stopped:
            raise Stopped
        return code

    def stop(self, seconds: float = STOP_SECONDS) -> None:
        """End every group: first all but its leader, so that DVC sees its stage die and frees its locks."""
        with self._lock:
            self.stopped = True
        try:
            for number, leaders in ((signal.SIGTERM, False), (signal.SIGTERM, True), (signal.SIGKILL, True)):
                self._signal(number, leaders)
                if self._wait(seconds):
                    return
        except BaseException:  # a second Ctrl-C
            self._signal(signal.SIGKILL, leaders=True)
            raise

    def _signal(self, number: signal.Signals, leaders: bool) -> None:
        for child in self._groups:
            members = _members(child.pid)
            followers = [pid for pid in members if pid != child.pid]
            for pid in members if leaders or not followers else followers:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    continue

    def _wait(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while any(_members(child.pid) for child in self._groups):
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


def _members(group: int) -> list[int]:
    """The living processes of a group; a zombie that nobody has reaped yet is not one."""
    found = []
    for process in psutil.process_iter(["status"]):
        try:
            if os.getpgid(process.pid) == group and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found
