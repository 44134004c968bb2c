"""Learnability: not learned yet, and learnable.

Sources: RHO-LOSS, arXiv 2206.07137; Bad Students, arXiv 2312.05328; JEST, arXiv 2406.17711.
"""

from torch import Tensor

NEEDS = frozenset({"learner", "reference"})


def score(learner_loss: Tensor, reference_loss: Tensor) -> Tensor:
    """The learner's loss minus the reference's, (B,) or (B, B)."""
    return learner_loss - reference_loss
