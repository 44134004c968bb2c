"""What a training stage needs to go on after a kill. It lies outside DVC's outs, because DVC deletes those before a stage runs."""

import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from stages.params import ROOT

FOLDER = ROOT / ".winnow" / "checkpoints"


def key(settings: dict[str, Any], files: list[Path]) -> str:
    """A hash of everything that the result depends on: settings, input files and the code of the rooms that train."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    code = [p for room in ("models", "stages/training", "stages/data") for p in sorted((ROOT / room).rglob("*.py"))]
    for path in [*files, *code]:
        digest.update(path.name.encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:24]


class Checkpoint:
    """One file, replaced in one step; a changed setting, input or line of code has another name and never resumes it."""

    def __init__(self, name: str, seconds: float) -> None:
        self.path, self.seconds = FOLDER / f"{name}.pt", seconds
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """The saved state, or None; a damaged file counts as none."""
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        except Exception as error:
            print(f"checkpoint {self.path.name} cannot be read ({type(error).__name__}); starting anew", flush=True)
            return None
        assert isinstance(state, dict)
        return state

    def due(self) -> bool:
        """Whether `seconds` have passed since the last save."""
        return time.monotonic() - self._last >= self.seconds

    def save(self, state: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        torch.save(state, partial)
        os.replace(partial, self.path)
        self._last = time.monotonic()

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
