"""A child process that shows a running stage in MLflow, so that tracking can be slow, down or broken without touching the stage.

The stage writes files; the follower (stages/ledger/publish.py) reads them and logs. It learns of the end by a line on its
standard input; if that closes without a line, the stage was killed, and the run is marked so. Off with WINNOW_TRACKING=off.
"""

import os
import subprocess
import sys
from pathlib import Path

from stages.params import ROOT
from stages.progress import execution

PATIENCE = 60.0  # seconds to wait for the last lines to be logged


class Follower:
    """Follows the stage at `address`, whose files are being made in `work`."""

    def __init__(self, address: str, work: Path) -> None:
        self.address = address
        self._child: subprocess.Popen[str] | None = None
        self._log = ROOT / ".winnow" / "logs" / f"{address}.publish.log"
        if os.environ.get("WINNOW_TRACKING") == "off":
            return
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with open(self._log, "w") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "stages.ledger.publish", address, str(work)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                text=True,
                cwd=ROOT,
                env={**os.environ, "WINNOW_EXECUTION": execution()},
            )

    def finish(self, status: str) -> None:
        """Tell the follower how the stage ended, and wait for it; one warning if the run could not be logged."""
        child, self._child = self._child, None
        if child is None:
            return
        try:
            child.communicate(status + "\n", timeout=PATIENCE)
            failed = child.returncode != 0
        except (subprocess.TimeoutExpired, BrokenPipeError):
            child.kill()
            child.wait()
            failed = True
        if failed:
            print(f"warning: {self.address} is not in MLflow ({self._reason()}); log it later with: winnow publish", flush=True)

    def _reason(self) -> str:
        try:
            lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        return lines[-1][:200] if lines else "no answer"
