"""What a training stage needs to resume after a kill; not among DVC's outs, which it deletes before a run."""

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from winnow.pipeline.code import digest
from winnow.pipeline.files import replacing, sha256


def checkpoint_key(settings: dict[str, Any], files: Iterable[Path], *modules: str) -> str:
    """A hash of everything that the result depends on: settings, input files, code, library versions.

    Args:
        settings: the part of params.yaml that shapes the result, and nothing else.
        modules: those that train, plug-ins included.
    """
    inputs = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for path in files:
        inputs.update(f"{path.name} {sha256(path)}\n".encode())
    inputs.update(digest(*modules).encode())
    return inputs.hexdigest()[:24]


class Checkpoint:
    """One file, replaced atomically; another setting, input or line of code has another key, and so no state.

    Args:
        folder: `Workspace.checkpoints`.
        key: from `checkpoint_key`.
        seconds: the time between two saves.
    """

    def __init__(self, folder: Path, key: str, seconds: float) -> None:
        self.path, self.seconds = folder / f"{key}.pt", seconds
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None; a damaged file counts as none."""
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:
            reason = type(error).__name__
            print(f"checkpoint {self.path.name} cannot be read ({reason}); starting anew", flush=True)
            return None
        assert isinstance(state, dict)
        return state

    def due(self) -> bool:
        """Whether `seconds` have passed since the last save."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file.

        Raises:
            OSError: if it cannot be written, most likely because the disk is full; the last one is kept.
        """
        try:
            with replacing(self.path) as partial:
                torch.save(state, partial)
        except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError on a full disk
            reason = str(error).splitlines()[0]
            failed = f"{self.path}: the checkpoint cannot be written ({reason})"
            raise OSError(f"{failed}; free some disk space and run again: the run resumes") from None
        self._last = time.monotonic()

    def remove(self) -> None:
        """Delete the file, and what writes of it that were killed have left."""
        for path in (self.path, *self.path.parent.glob(f"{self.path.name}.*.partial")):
            path.unlink(missing_ok=True)
