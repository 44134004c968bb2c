"""SigLIP (Zhai et al., "Sigmoid Loss for Language Image Pre-Training", arXiv 2303.15343)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.methods import Losses, upcast
from models.text import Towers, TwoTowers


@dataclass
class Config(Towers):
    bias: float = -10.0


class Method(TwoTowers):
    """Pair loss (B, B): softplus(-y (t <image_i, text_j> + b)), y = 1 on the diagonal and -1 off it.

    t starts at 10, b at -10. An example's loss is the sum over its image's row, so that the mean over
    examples is the paper's loss.
    """

    NEEDS = frozenset({"captions"})  # beside its class, where it is read without importing torch
    PAIR = "sigmoid"

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__(encoder, config, classes)
        self.bias = nn.Parameter(torch.tensor(config.bias))

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        pair = self.pairs(first, second)
        return Losses(pair.sum(dim=1), pair)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return sigmoid_pairs(first, second, self.log_temperature.exp(), self.bias)


def sigmoid_pairs(images: Tensor, texts: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
    """Unit-norm (B, E) and (B, E) -> the negative log-likelihood of every pair, (B, B)."""
    logits = temperature * upcast(images @ texts.T) + bias
    signs = 2 * torch.eye(*logits.shape, device=logits.device) - 1
    return F.softplus(-signs * logits)
