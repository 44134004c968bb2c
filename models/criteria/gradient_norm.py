"""Gradient norm: an upper bound of each example's gradient (Katharopoulos and Fleuret, arXiv 1803.00942).

For cross-entropy the gradient with respect to the logits is softmax minus the target, and its norm bounds
that of the whole gradient up to a factor that is the same for all examples. A method with a classifier
returns it in `Losses.gradient_norm`.

The paper draws in proportion to the norm and weighs the losses by its inverse, which leaves the expected
gradient as it was. Nothing is weighed here: what is chosen is trained on as it is.
"""

from torch import Tensor

NEEDS = frozenset({"learner", "gradient_norm"})


def score(learner_loss: Tensor, reference_loss: Tensor) -> Tensor:
    """The bound, (B,), which the selector passes in place of the learner's loss."""
    return learner_loss
