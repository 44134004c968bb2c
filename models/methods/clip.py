"""CLIP (Radford et al., arXiv 2103.00020): softmax over the pairs of a batch, on the same two towers as SigLIP."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.methods import Losses
from models.text import Towers, TwoTowers


@dataclass
class Config(Towers):
    temperature: float = 1 / 0.07
    most: float = 100.0  # the paper's bound on the learned scale of the logits


class Method(TwoTowers):
    """Loss (B,): the mean of image i finding its text among B and text i its image; `Losses.pair` holds the logits (B, B)."""

    PAIR = "softmax"
    config: Config

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        pair = self.pairs(first, second)
        own = torch.arange(len(pair), device=pair.device)
        example = (F.cross_entropy(pair, own, reduction="none") + F.cross_entropy(pair.T, own, reduction="none")) / 2
        return Losses(example, pair)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return self.log_temperature.exp().clamp(max=self.config.most) * (first @ second.T).float()
