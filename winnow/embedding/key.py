"""What embeddings depend on, as a name: the folder of .winnow/embeddings that keeps them.

Without torch, so that the name can be computed without the model.
"""

import hashlib
from collections.abc import Iterable

from winnow.config.schema import Run
from winnow.pipeline.code import digest


def embedding_key(weights: str, architecture: str | None, size: int, run: Run, plugins: Iterable[str]) -> str:
    """24 hex digits, others when any embedding could be.

    Args:
        weights: SHA-256 of the model's file.
        size: side of the square that the model sees, in pixels.
        plugins: the modules that the model runs and that no import statement names, such as
            `models.methods.clip`. Their code counts, and that of this package, with the versions of the
            libraries.
    """
    # The number of threads changes no embedding.
    settings = run.accelerator, run.precision, run.fast_decode
    code = digest("winnow.embedding.embeddings", *plugins)
    return hashlib.sha256(repr((weights, architecture, size, *settings, code)).encode()).hexdigest()[:24]
