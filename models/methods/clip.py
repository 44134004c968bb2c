"""CLIP (Radford et al., arXiv 2103.00020): softmax over the pairs of a batch, on SigLIP's two towers."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.methods import Losses, upcast
from models.text import Towers, TwoTowers


@dataclass
class Config(Towers):
    temperature: float = 1 / 0.07
    most: float = 100.0  # the paper's bound on the learned scale of the logits


class Method(TwoTowers):
    """Loss (B,): the mean of finding text i by image i among B, and image i by text i.

    `Losses.pair` holds the logits (B, B).
    """

    NEEDS = frozenset({"captions"})  # beside its class, where it is read without importing torch
    PAIR = "softmax"
    config: Config

    def compare(self, first: Tensor, second: Tensor) -> Losses:
        pair = self.pairs(first, second)
        match = torch.arange(len(pair), device=pair.device)
        images, texts = (F.cross_entropy(logits, match, reduction="none") for logits in (pair, pair.T))
        return Losses((images + texts) / 2, pair)

    def pairs(self, first: Tensor, second: Tensor) -> Tensor:
        return self.log_temperature.exp().clamp(max=self.config.most) * upcast(first @ second.T)
