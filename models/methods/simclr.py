"""SimCLR (Chen et al., "A Simple Framework for Contrastive Learning...", arXiv 2002.05709)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders import width
from models.heads import mlp
from models.methods import Batch, Losses, Objective, upcast


@dataclass
class Config:
    temperature: float = 0.2
    hidden: int = 256
    out: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: {self.temperature} is out of range; allowed: above 0, finite")


class Method(Objective):
    """NT-Xent over two views of each example (equation 1): find a view's partner among the 2B - 1 others."""

    VIEWS: ClassVar[dict[str, tuple[int, int]]] = {"image": (2, 2)}
    PAIR = "softmax"

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = mlp(width(encoder), config.hidden, config.out)

    def projection(self) -> nn.Sequential:
        return self.head

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        logits = similarities(torch.cat([first, second]), self.config.temperature)
        return Losses(losses(logits), logits[: len(first), len(first) :])

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        features = self.encoder(torch.cat(batch.views["image"]))
        first, second = F.normalize(self.head(features), dim=-1).chunk(2)
        return first, second

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of first against second views, without NT-Xent's pairs within either set of views."""
        return upcast(first @ second.T) / self.config.temperature


def similarities(embeddings: Tensor, temperature: float) -> Tensor:
    """Unit-norm embeddings (2B, D) -> logits (2B, 2B) of each view against all others, itself excluded."""
    logits = upcast(embeddings @ embeddings.T) / temperature
    return logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), float("-inf"))


def losses(logits: Tensor) -> Tensor:
    """Logits (2B, 2B), example i's views at i and B + i -> the mean of its views' losses, (B,)."""
    count = len(logits) // 2
    partner = torch.arange(2 * count, device=logits.device).roll(count)
    return F.cross_entropy(logits, partner, reduction="none").view(2, count).mean(dim=0)
