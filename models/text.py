"""Text: open_clip's tokenizer and transformer, and the two towers that CLIP and SigLIP put beside each other."""

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
    """Sizes of the text tower and of the embedding that both towers end in; where the learned scale of the logits starts."""

    embed: int = 64
    text_width: int = 64
    text_layers: int = 2
    text_heads: int = 2
    context: int = 16
    temperature: float = 10.0


class TwoTowers(Objective):
    """An image encoder and a text tower with unit-norm embeddings of one width, and a learned scale of their products."""

    NEEDS = frozenset({"captions"})

    def __init__(self, encoder: nn.Module, config: Towers, classes: int) -> None:
        super().__init__()
        self.encoder, self.config = encoder, config
        self.head = nn.Linear(width(encoder), config.embed)
        self.text = TextTower(config.context, config.text_width, config.text_layers, config.text_heads, config.embed)
        self.log_temperature = nn.Parameter(torch.tensor(math.log(config.temperature)))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        assert batch.tokens is not None
        images = F.normalize(self.head(self.encoder(batch.views["image"][0])), dim=-1)
        return images, self.text(batch.tokens)


class TextTower(nn.Module):
    """Tokens (B, L) int64 in, unit-norm embeddings (B, E) out."""

    def __init__(self, context: int, width: int, layers: int, heads: int, embed: int) -> None:
        super().__init__()
        from open_clip.transformer import TextTransformer

        self.transformer = TextTransformer(
            context_length=context, vocab_size=VOCABULARY, width=width, heads=heads, layers=layers, output_dim=embed
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.transformer(tokens), dim=-1)


def tokenize(captions: list[str], context: int) -> Tensor:
    """Captions -> (N, context) int64 tokens; longer captions are cut, as open_clip does."""
    from open_clip.tokenizer import SimpleTokenizer

    distinct = sorted(set(captions))
    tokens = SimpleTokenizer(context_length=context)(distinct) if distinct else torch.zeros(0, context, dtype=torch.long)
    place = {caption: i for i, caption in enumerate(distinct)}
    return tokens[torch.tensor([place[caption] for caption in captions], dtype=torch.long)]
