"""Hard: what the learner has not learned yet, noise included (Bad Students' baseline, arXiv 2312.05328)."""

from torch import Tensor

NEEDS = frozenset({"learner"})


def score(learner_loss: Tensor, reference_loss: Tensor) -> Tensor:
    """The learner's loss, (B,) or (B, B)."""
    return learner_loss
