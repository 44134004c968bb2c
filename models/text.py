"""The text tower: open_clip's transformer and tokenizer, at the size that the recipe asks for. Imported only where used."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCABULARY = 49408  # of CLIP's byte-pair encoding, which open_clip ships


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
