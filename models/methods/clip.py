"""CLIP (Radford et al., arXiv 2103.00020): softmax over the pairs of a batch, on the same two towers as SigLIP."""

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
    temperature: float = 1 / 0.07
    most: float = 100.0  # the paper's bound on the learned scale of the logits


class Method(Objective):
    """Loss (B,): the mean of image i finding its text among B and text i its image; `Losses.pair` holds the logits (B, B)."""

    NEEDS = frozenset({"captions"})
    PAIR = "softmax"

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = nn.Linear(width(encoder), config.embed)
        self.text = TextTower(config.context, config.text_width, config.text_layers, config.text_heads, config.embed)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

    def forward(self, batch: Batch) -> Losses:
        return self.compare(*self.embed(batch))

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        pair = self.pairs(first, second)
        own = torch.arange(len(pair), device=pair.device)
        example = (F.cross_entropy(pair, own, reduction="none") + F.cross_entropy(pair.T, own, reduction="none")) / 2
        return Losses(example, pair)

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.tokens is not None
        images = F.normalize(self.head(self.encoder(batch.views["image"][0])), dim=-1)
        return images, self.text(batch.tokens)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return self.log_temperature.exp().clamp(max=self.config.most) * (first @ second.T).float()
