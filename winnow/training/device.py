"""Device, precision and determinism, by lightning-fabric."""

import hashlib
import os

from winnow.config.schema import Run

# cuBLAS is deterministic only with a fixed workspace, and reads this once, when it is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from lightning_fabric import Fabric


def launch(run: Run) -> Fabric:
    """A fabric on one device; the same seed gives the same bits on the same machine and settings.

    Raises:
        ValueError: if `run.accelerator` is cuda and there is no GPU.
    """
    if run.accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError("run.accelerator: 'cuda', but torch sees no GPU; set it to auto or cpu")
    torch.set_num_threads(run.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    accelerator = automatic if run.accelerator == "auto" else run.accelerator
    return Fabric(accelerator=accelerator, devices=1, precision=run.precision)  # type: ignore[arg-type]


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by its purpose, such as (seed, "views", step); so no state needs saving."""
    return torch.Generator().manual_seed(_number(*parts))


def reseed(*parts: int | str) -> None:
    """Seed torch's global generator, from which dropout and stochastic depth draw, in the same way."""
    torch.manual_seed(_number(*parts))


def _number(*parts: int | str) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
