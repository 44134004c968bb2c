"""SigLIP (Zhai et al., "Sigmoid Loss for Language Image Pre-Training", arXiv 2303.15343)."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders import width
from models.methods import Batch, Losses, Objective
from models.text import TextTower


@dataclass
class Config:
    embed: int = 64
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 2
    context: int = 16
    temperature: float = 10.0
    bias: float = -10.0


class Method(Objective):
    """Pair loss (B, B): softplus(-y (t <image_i, text_j> + b)), y = 1 on the diagonal and -1 off it; t starts at 10, b at -10.

    An example's loss is the sum over its image's row, so that the mean over examples is the paper's loss.
    """

    NEEDS = frozenset({"captions"})
    PAIR = "sigmoid"

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = nn.Linear(width(encoder), config.embed)
        self.text = TextTower(config.context, config.text_width, config.text_layers, config.text_heads, config.embed)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))
        self.bias = nn.Parameter(torch.tensor(config.bias))

    def forward(self, batch: Batch) -> Losses:
        return self.compare(*self.embed(batch))

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        pair = self.pairs(first, second)
        return Losses(pair.sum(dim=1), pair)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.tokens is not None
        images = F.normalize(self.head(self.encoder(batch.views["image"][0])), dim=-1)
        return images, self.text(batch.tokens)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return sigmoid_pairs(first, second, self.log_temperature.exp(), self.bias)


def sigmoid_pairs(images: Tensor, texts: Tensor, temperature: Tensor, bias: Tensor) -> Tensor:
    """Unit-norm (B, E) and (B, E) -> the negative log-likelihood of every pair, (B, B)."""
    logits = temperature * (images @ texts.T).float() + bias
    signs = 2 * torch.eye(*logits.shape, device=logits.device) - 1
    return F.softplus(-signs * logits)
