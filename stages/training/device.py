"""Device, precision and determinism, by lightning-fabric."""

import hashlib
import os

from stages.params import Run

# cuBLAS is deterministic only with a fixed workspace, and reads this once, when it is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from lightning_fabric import Fabric


def launch(run: Run) -> Fabric:
    """A fabric on one device; the same seed gives the same bits on the same machine and settings.

    Raises:
        ValueError: if `run.accelerator` asks for a GPU that is not there.
    """
    if run.accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError("run.accelerator: 'cuda', but torch sees no GPU; set it to auto or cpu")
    torch.set_num_threads(run.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    accelerator = {"auto": "cuda" if torch.cuda.is_available() else "cpu"}.get(run.accelerator, run.accelerator)
    return Fabric(accelerator=accelerator, devices=1, precision=run.precision)  # type: ignore[arg-type]


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator named by its purpose, such as (seed, "views", step): no state to save, none to disturb."""
    return torch.Generator().manual_seed(_number(*parts))


def reseed(*parts: int | str) -> None:
    """Set torch's own random state, from which dropout and stochastic depth draw, by the same naming."""
    torch.manual_seed(_number(*parts))


def _number(*parts: int | str) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
