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

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = mlp(width(encoder), config.hidden, config.out)

    def forward(self, batch: Batch) -> Losses:
        first, second = batch.views["image"]
        embeddings = F.normalize(self.head(self.encoder(torch.cat([first, second]))), dim=-1)
        return Losses(nt_xent(embeddings, self.config.temperature))


def nt_xent(embeddings: Tensor, temperature: float) -> Tensor:
    """Unit-norm embeddings (2B, D), the two views of example i at i and B + i -> the mean of their two losses, (B,)."""
    count = len(embeddings) // 2
    logits = (embeddings @ embeddings.T).float() / temperature
    logits = logits.masked_fill(torch.eye(2 * count, dtype=torch.bool, device=logits.device), float("-inf"))
    partner = torch.arange(2 * count, device=logits.device).roll(count)
    return F.cross_entropy(logits, partner, reduction="none").view(2, count).mean(dim=0)
