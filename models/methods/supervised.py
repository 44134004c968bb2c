"""Supervised: cross-entropy of a linear classifier on the encoder's features."""

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders import width
from models.methods import Batch, Losses, Objective, upcast


@dataclass
class Config:
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing: {self.label_smoothing} is out of range; allowed: [0, 1)")


class Method(Objective):
    """Loss (B,): -log p(label), with label smoothing in training only, so that scores stay comparable."""

    NEEDS = frozenset({"labels"})

    def __init__(self, encoder: nn.Module, config: Config, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = nn.Linear(width(encoder), classes)

    def losses(self, batch: Batch) -> Losses:
        logits = self.classify(batch.views["image"][0])
        smoothing = self.config.label_smoothing if self.training else 0.0
        example = F.cross_entropy(logits, batch.labels, reduction="none", label_smoothing=smoothing)
        return Losses(example, gradient_norm=None if self.training else gradient_norm(logits, batch.labels))

    def classify(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images))


def gradient_norm(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (B, K), labels (B,) -> the Euclidean norm of softmax minus the one-hot label, (B,), detached."""
    probabilities = upcast(logits.detach()).softmax(dim=-1)
    return (probabilities - F.one_hot(labels, logits.shape[1])).norm(dim=-1)
