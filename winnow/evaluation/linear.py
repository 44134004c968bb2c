"""Linear classifiers on frozen features: logistic regression to its optimum, and the schedules of papers.

Both minimise the mean cross-entropy of inputs (n, D) with labels (n,), and return weight and bias as one
tensor (D + 1, classes). On the same standardised features `logistic` finds the optimum of scikit-learn's
`LogisticRegression`, which minimises C * sum(loss) + |W|^2 / 2, at C = 1 / (2 * n * l2).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from winnow.training.device import generator

HISTORY = 100  # of L-BFGS; 10 needs twice the iterations on features of a ResNet-10
SPREAD = 0.01  # of the initial weights of a schedule
BASE_BATCH = 256  # a schedule's learning rate is for a batch of so many, and grows with the batch
FINAL_LR = 1e-6  # at the end of a schedule
TRUST = 1e-3  # LARS: a layer moves by so much of its own norm at learning rate 1


class Logistic:
    """Logistic regression on inputs (n, D) by L-BFGS, for any number of penalties.

    L-BFGS works in the inputs' principal axes, each scaled by the curvature that the loss has along it where
    all classes are equally likely. The optimum is the same, for the penalty is that of the unscaled weights,
    and 100 iterations come close to it where in the axes of the features they stop halfway: with 512 features
    of a ResNet-10 the top-1 was up to 0.3 points from the optimum's, and is within 0.03.

    `evaluations` counts how often the loss and its gradient were computed.
    """

    def __init__(self, inputs: Tensor, labels: Tensor, classes: int) -> None:
        self.labels, self.classes, self.evaluations = labels, classes, 0
        self.curvature = max((1 - 1 / classes) / classes, 1e-3)
        values, axes = torch.linalg.eigh(inputs.T @ inputs / len(inputs))
        # Where the features do not vary, as two of the three channels of a grey picture, weights stay 0.
        vary = values > 1e-7 * values[-1]
        self.variances, self.axes = values[vary], axes[:, vary]
        self.rotated = inputs @ self.axes

    def fit(self, l2: float, iterations: int) -> Tensor:
        """Minimise mean cross-entropy + l2 * |W|^2, the bias unpenalised: (D + 1, classes)."""
        scale = (self.variances * self.curvature + 2 * l2).rsqrt()[:, None]
        inputs, bias_scale = self.rotated * scale.T, self.curvature**-0.5
        scaled = torch.zeros(len(scale) + 1, self.classes, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [scaled],
            max_iter=iterations,
            max_eval=most_evaluations(iterations),
            tolerance_grad=1e-5,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            self.evaluations += 1
            optimizer.zero_grad()
            scores = inputs @ scaled[:-1] + bias_scale * scaled[-1]
            loss = F.cross_entropy(scores, self.labels) + l2 * (scale * scaled[:-1]).square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        found = scaled.detach()
        return torch.cat([self.axes @ (scale * found[:-1]), bias_scale * found[-1:]])


def most_evaluations(iterations: int) -> int:
    """How often L-BFGS may compute the loss in so many iterations, its last line search apart."""
    return math.ceil(1.25 * iterations)


def scheduled(
    inputs: Tensor,
    labels: Tensor,
    classes: int,
    optimiser: str,
    lr: float,
    weight_decay: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> Tensor:
    """SGD with momentum 0.9, or LARS, on a cosine without warm-up: (D + 1, classes).

    The linear probing of the low-compute paper (Tan et al., arXiv 2210.02808, table 7): LARS with `lr` 0.05
    for convolutional networks and SGD with 0.01 for vision transformers, both times batch / 256, batch 4096,
    100 epochs, no weight decay. The paper draws crops and flips anew in each epoch; these are features of
    plain images. The bias is neither decayed nor scaled by LARS. The rate falls at each step.
    """
    random = generator(seed, "linear probe")
    weight = torch.randn(inputs.shape[1], classes, generator=random).mul_(SPREAD).requires_grad_()
    bias = torch.zeros(classes, requires_grad=True)
    size = min(batch_size, len(inputs))
    peak, steps = lr * size / BASE_BATCH, epochs * math.ceil(len(inputs) / size)
    optimizer = _optimizer(optimiser, weight, bias, weight_decay)
    for step, batch in enumerate(_batches(len(inputs), size, epochs, random)):
        for group in optimizer.param_groups:
            group["lr"] = FINAL_LR + (peak - FINAL_LR) * (1 + math.cos(math.pi * step / steps)) / 2
        optimizer.zero_grad()
        F.cross_entropy(inputs[batch] @ weight + bias, labels[batch]).backward()
        optimizer.step()
    return torch.cat([weight.detach(), bias.detach()[None]])


def _optimizer(name: str, weight: Tensor, bias: Tensor, weight_decay: float) -> torch.optim.Optimizer:
    if name == "sgd":
        decayed: dict[str, Any] = {"params": [weight], "weight_decay": weight_decay}
        return torch.optim.SGD([decayed, {"params": [bias]}], lr=0.0, momentum=0.9)
    from timm.optim import Lars

    # timm scales what has weight decay; the paper's LARS scales every matrix, also without.
    scaled = {"params": [weight], "weight_decay": weight_decay, "always_adapt": True}
    return Lars([scaled, {"params": [bias]}], lr=0.0, momentum=0.9, trust_coeff=TRUST)


def _batches(count: int, size: int, epochs: int, random: torch.Generator) -> Iterator[Tensor]:
    for _ in range(epochs):
        yield from torch.randperm(count, generator=random).split(size)


def logits(weight: Tensor, inputs: Tensor) -> Tensor:
    """(D + 1, classes) and (n, D) -> (n, classes)."""
    return inputs @ weight[:-1] + weight[-1]


def class_mean(logits: Tensor, labels: Tensor) -> float:
    """The mean of the top-1 of each class that occurs, to six places; logits (n, classes), labels (n,)."""
    hits = logits.argmax(dim=1) == labels
    each = torch.stack([hits[labels == label].float().mean() for label in labels.unique()])
    return round(float(each.mean()), 6)
