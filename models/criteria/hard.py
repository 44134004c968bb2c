"""Hard: what the learner has not learned yet, noise included (the baseline of Bad Students, arXiv 2312.05328, section 3)."""

from torch import Tensor

NEEDS = frozenset({"learner"})


def score(learner_loss: Tensor, reference_loss: Tensor) -> Tensor:
    """The learner's loss, (B,) or (B, B)."""
    return learner_loss
