"""Easy: what a trusted reference finds likely (easy reference, arXiv 2312.05328; for image-text pairs this is the CLIP score)."""

from torch import Tensor

NEEDS = frozenset({"reference"})


def score(learner_loss: Tensor, reference_loss: Tensor) -> Tensor:
    """Minus the reference's loss, (B,) or (B, B)."""
    return -reference_loss
