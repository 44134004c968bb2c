"""A child process that shows a running stage in MLflow, so that tracking can be slow, down or broken and the
stage does not notice.

The stage writes files; the follower (winnow/tracking/publish.py) reads them and logs. It learns of the end by
a line on its standard input; if that closes without a line, the stage was killed, and the run is marked so.
A Ctrl-C or a cancelled flow, which signals every process of the stage, leaves the follower alone.
Its last lines are logged while the next stage starts. Off with WINNOW_TRACKING=off.
"""

import contextlib
import os
import shutil
import subprocess
import sys

from winnow.pipeline.execution import execution
from winnow.pipeline.workspace import Workspace

# Yields to the stage; at 19 it starves beside two busy threads.
NICE = ["nice", "-n", "10"] if shutil.which("nice") else []
PATIENCE = 60.0  # seconds to wait for the last lines to be logged


class Follower:
    """Follows the stage at `address` while it runs."""

    def __init__(self, address: str, workspace: Workspace) -> None:
        self._child: subprocess.Popen[str] | None = None
        if os.environ.get("WINNOW_TRACKING") == "off":
            return
        path = workspace.logs / f"{address}.publish.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as log:
            self._child = subprocess.Popen(
                [*NICE, sys.executable, "-m", "winnow.tracking.publish", address],
                stdin=subprocess.PIPE,
                stdout=sys.stderr.fileno(),  # where the one warning goes, if the run cannot be logged
                stderr=log,
                text=True,
                cwd=workspace.root,
                env={**os.environ, "WINNOW_EXECUTION": execution()},
                start_new_session=True,
            )

    def finish(self, status: str, wait: bool = False) -> None:
        """Tell the follower how the stage ended; `wait` until it has logged everything, or for `PATIENCE`."""
        child, self._child = self._child, None
        if child is None or child.stdin is None:
            return
        with contextlib.suppress(BrokenPipeError):
            child.stdin.write(status + "\n")
            child.stdin.close()
        if wait:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(PATIENCE)
