"""RHO: reducible holdout loss (Mindermann et al., arXiv 2206.07137, equation 3).

It estimates how much training on the example lowers the loss on holdout data. The reference is the
irreducible loss model, trained on data that the learner never sees. The score is that of learnability; the
paper takes the highest, deterministically, of super-batches ten times the batch, as the policy `rho` does.
"""

from torch import Tensor

NEEDS = frozenset({"learner", "reference"})


def score(learner_loss: Tensor, reference_loss: Tensor) -> Tensor:
    """The learner's loss minus the irreducible loss, (B,) or (B, B)."""
    return learner_loss - reference_loss
