"""SimCLR (Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", arXiv 2002.05709)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders import width
from models.heads import mlp
from models.methods import Batch, Losses, Objective


@dataclass
class Config:
    temperature: float = 0.2
    hidden: int = 256
    out: int = 64

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"temperature: {self.temperature} is out of range; allowed: above 0")


class Method(Objective):
    """NT-Xent over two views of each example (equation 1): each view must find the other among all 2B - 1 others."""

    VIEWS: ClassVar[dict[str, tuple[int, int]]] = {"image": (2, 2)}
    PAIR = "softmax"

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = mlp(width(encoder), config.hidden, config.out)

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        logits = similarities(torch.cat([first, second]), self.config.temperature)
        return Losses(losses(logits), logits[: len(first), len(first) :])

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        first, second = F.normalize(self.head(self.encoder(torch.cat(batch.views["image"]))), dim=-1).chunk(2)
        return first, second

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        """Logits of the first views against the second; NT-Xent's pairs of equal views are left out."""
        return (first @ second.T).float() / self.config.temperature


def nt_xent(embeddings: Tensor, temperature: float) -> Tensor:
    """Unit-norm embeddings (2B, D), the two views of example i at i and B + i -> the mean of their two losses, (B,)."""
    return losses(similarities(embeddings, temperature))


def similarities(embeddings: Tensor, temperature: float) -> Tensor:
    """Unit-norm embeddings (2B, D) -> logits (2B, 2B) of each view against all others, itself left out."""
    logits = (embeddings @ embeddings.T).float() / temperature
    return logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), float("-inf"))


def losses(logits: Tensor) -> Tensor:
    """Logits (2B, 2B) -> (B,)."""
    count = len(logits) // 2
    partner = torch.arange(2 * count, device=logits.device).roll(count)
    return F.cross_entropy(logits, partner, reduction="none").view(2, count).mean(dim=0)
