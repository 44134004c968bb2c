"""A linear classifier on frozen features: multinomial logistic regression by L-BFGS."""

import torch
import torch.nn.functional as F
from torch import Tensor


def fit(inputs: Tensor, labels: Tensor, classes: int, l2: float, iterations: int) -> Tensor:
    """Minimise mean cross-entropy + l2 * |W|^2 for inputs (n, D): weights and bias as (D + 1, classes)."""
    weight = torch.zeros(inputs.shape[1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=iterations, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(logits(weight, inputs), labels) + l2 * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return weight.detach()


def logits(weight: Tensor, inputs: Tensor) -> Tensor:
    """(D + 1, classes) and (n, D) -> (n, classes)."""
    return inputs @ weight[:-1] + weight[-1]
