"""Device, precision and determinism, by lightning-fabric."""

import ctypes
import hashlib
import os
from contextlib import suppress

from winnow.config.schema import Run

# cuBLAS is deterministic only with a fixed workspace, and reads this once, when it is first used.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import torch
from lightning_fabric import Fabric
from torch import nn

# mallopt's names of the settings, in glibc's malloc.h
MMAP_MAX, TRIM_THRESHOLD = -4, -1
CHANNELS_LAST_SIDE = 64  # px


def launch(run: Run) -> Fabric:
    """A fabric on one device; the same seed gives the same bits on the same machine and settings.

    Raises:
        ValueError: if `run.accelerator` is cuda and there is no GPU.
    """
    if run.accelerator == "cuda" and not torch.cuda.is_available():
        raise ValueError("run.accelerator: 'cuda', but torch sees no GPU; set it to auto or cpu")
    _keep_freed_memory()
    torch.set_num_threads(run.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = False
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    accelerator = automatic if run.accelerator == "auto" else run.accelerator
    return Fabric(accelerator=accelerator, devices=1, precision=run.precision)  # type: ignore[arg-type]


def arrange(module: nn.Module, side: int) -> None:
    """Put the weights of a convolutional network into channels_last memory format, where that is faster.

    It is from about `CHANNELS_LAST_SIDE` pixels on (benchmarks/views.md). The last bits differ, so smaller
    models keep the format, and with it the results, that they always had.
    """
    if side >= CHANNELS_LAST_SIDE and any(isinstance(part, nn.BatchNorm2d) for part in module.modules()):
        module.to(memory_format=torch.channels_last)


def _keep_freed_memory() -> None:
    """Let glibc reuse freed memory, which it else returns to the system after each large tensor.

    The kernel then clears every page again: 14,000 of them in a step of DINO's views of 96 and 48 px in
    batches of 8, and 8 % of its time. No byte of a result changes; the process stays as large as it once was.
    """
    with suppress(OSError, AttributeError):  # another C library has no mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(MMAP_MAX, 0)
        libc.mallopt(TRIM_THRESHOLD, -1)


def generator(*parts: int | str) -> torch.Generator:
    """A CPU generator seeded by its purpose, such as (seed, "views", step); so no state needs saving."""
    return torch.Generator().manual_seed(_number(*parts))


def reseed(*parts: int | str) -> None:
    """Seed torch's global generator, from which dropout and stochastic depth draw, in the same way."""
    torch.manual_seed(_number(*parts))


def _number(*parts: int | str) -> int:
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
