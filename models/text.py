"""Text: open_clip's tokenizer and transformer, and the image and text towers of CLIP and SigLIP."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.encoders import width
from models.methods import Batch, Objective

VOCABULARY = 49408  # of CLIP's byte-pair encoding, which open_clip ships


@dataclass
class Towers:
    """Sizes of the text tower and of the shared embedding; `temperature` is the logits' initial scale."""

    embed: int = 64
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 2
    context: int = 16
    temperature: float = 10.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: {self.temperature} is out of range; allowed: above 0, finite")
        for name in ("embed", "text_width", "text_layers", "text_heads", "context"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: {getattr(self, name)} is out of range; allowed: 1 or more")
        if self.text_width % self.text_heads:
            given = f"text_width: {self.text_width} is not divisible by text_heads {self.text_heads}"
            raise ValueError(f"{given}; change one of them")


class TwoTowers(Objective):
    """An image encoder and a text tower with unit-norm embeddings, and a learned scale of their products."""

    NEEDS = frozenset({"captions"})

    def __init__(self, encoder: nn.Module, config: Towers, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = nn.Linear(width(encoder), config.embed)
        self.text = TextTower(config)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.tokens is not None
        return self.embed_images(batch.views["image"][0]), self.text(batch.tokens)

    def embed_images(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in, unit-norm embeddings (B, E) out; `text` does the same for tokens."""
        return F.normalize(self.head(self.encoder(images)), dim=-1)


class TextTower(nn.Module):
    """Tokens (B, L) int64 in, unit-norm embeddings (B, E) out."""

    def __init__(self, config: Towers) -> None:
        super().__init__()
        from open_clip.transformer import TextTransformer

        self.transformer = TextTransformer(
            context_length=config.context,
            vocab_size=VOCABULARY,
            width=config.text_width,
            heads=config.text_heads,
            layers=config.text_layers,
            output_dim=config.embed,
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.transformer(tokens), dim=-1)


def tokenize(captions: list[str], context: int) -> Tensor:
    """Captions -> (N, context) int64 tokens; longer captions are cut, as open_clip does."""
    from open_clip.tokenizer import SimpleTokenizer

    if not captions:
        return torch.zeros(0, context, dtype=torch.long)
    distinct = sorted(set(captions))
    tokens: Tensor = SimpleTokenizer(context_length=context)(distinct)
    row = {caption: i for i, caption in enumerate(distinct)}
    return tokens[torch.tensor([row[caption] for caption in captions])]
