"""Easy: what a trusted reference finds likely (arXiv 2312.05328).

For image-text pairs that is its loss among other pairs, not the CLIP score, a cosine.
"""

from torch import Tensor

NEEDS = frozenset({"reference"})


def score(learner_loss: Tensor, reference_loss: Tensor) -> Tensor:
    """Minus the reference's loss, (B,) or (B, B)."""
    return -reference_loss
