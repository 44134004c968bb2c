"""Projection heads: features (B, D) in, embeddings or logits (B, K) out."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mlp(features: int, hidden: int, out: int) -> nn.Sequential:
    """Two layers with batch normalisation, as SimCLR's projection (arXiv 2002.05709, section 2.1)."""
    return nn.Sequential(
        nn.Linear(features, hidden, bias=False),
        nn.BatchNorm1d(hidden),
        nn.ReLU(inplace=True),
        nn.Linear(hidden, out),
    )


class PrototypeHead(nn.Module):
    """DINO's head (arXiv 2104.14294): MLP with GELU, L2-normalised bottleneck, unit-norm prototypes.

    The prototypes' norm is fixed at one, which is DINO's weight normalisation with a frozen gain.
    `batch_norm` is SSLight's choice for convolutional networks (arXiv 2210.02808).
    """

    def __init__(
        self, features: int, hidden: int, bottleneck: int, prototypes: int, batch_norm: bool = True
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (features, hidden):
            layers.append(nn.Linear(inputs, hidden, bias=not batch_norm))
            layers += [nn.BatchNorm1d(hidden)] if batch_norm else []
            layers.append(nn.GELU())
        self.mlp = nn.Sequential(*layers, nn.Linear(hidden, bottleneck))
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        """(B, D) -> cosine similarities (B, prototypes) in [-1, 1]."""
        embedding = F.normalize(self.mlp(features), dim=-1)
        return F.linear(embedding, F.normalize(self.prototypes, dim=-1))


LAYERS = {layer.__name__: layer for layer in (nn.Linear, nn.BatchNorm1d, nn.GELU, nn.ReLU)}


def described(head: nn.Sequential) -> list[list[Any]]:
    """The layers of a head as plain values, from which `from_description` makes it again, without weights.

    Raises:
        ValueError: for a layer that is not in `LAYERS`.
    """
    found: list[list[Any]] = []
    for layer in head:
        name = type(layer).__name__
        if name not in LAYERS:
            raise ValueError(f"{name}: no layer of a projection head; allowed: {', '.join(LAYERS)}")
        if isinstance(layer, nn.Linear):
            found.append([name, layer.in_features, layer.out_features, layer.bias is not None])
        else:
            found.append([name, layer.num_features] if isinstance(layer, nn.BatchNorm1d) else [name])
    return found


def from_description(layers: list[list[Any]]) -> nn.Sequential:
    """The head that `described` described."""
    return nn.Sequential(*(LAYERS[name](*sizes) for name, *sizes in layers))


class Projected(nn.Module):
    """An encoder with layers of its projection head on top: images (B, 3, S, S) -> (B, D)."""

    def __init__(self, encoder: nn.Module, head: nn.Sequential) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.num_features = [layer.out_features for layer in head if isinstance(layer, nn.Linear)][-1]

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.encoder(images))
