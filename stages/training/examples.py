"""A set of examples to train or evaluate on: pixels by index, with labels and tokens beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from models.methods import Batch
from stages.data.index import Uids
from stages.data.loader import Pixels
from stages.data.pool import Pool
from stages.data.views import make
from stages.params import Run, View


@dataclass
class Examples:
    """n examples: `pixels` (n, 3, S, S) on demand, `labels` (n,) int64, `tokens` (n, L) int64 or None, `uids` of length n."""

    pixels: Pixels
    labels: Tensor
    tokens: Tensor | None
    uids: Sequence[str]
    classes: int

    def __len__(self) -> int:
        return len(self.uids)

    def batch(
        self,
        indices: np.ndarray,
        images: Tensor,
        views: dict[str, View],
        generator: Generator,
        device: torch.device,
        patch: int | None = None,
    ) -> Batch:
        """Views of `images` (k, 3, S, S) uint8, which are the pixels of `indices` (k,), with what belongs to them.

        Where an example is lost and another's picture stands in for it, label and tokens are that other's.
        """
        chosen = torch.from_numpy(self.pixels.seen(indices))
        tokens = None if self.tokens is None else self.tokens[chosen].to(device)
        return Batch(make(images.to(device), views, generator), self.labels[chosen].to(device), tokens, patch)


def examples(
    pool: Pool,
    uids: Sequence[str] | np.ndarray,
    size: int,
    run: Run,
    needs: frozenset[str] = frozenset(),
    context: int = 0,
) -> Examples:
    """Open the examples with these uids.

    Args:
        uids: texts, or an array as a version's uids.npy holds it, which is quicker and smaller by far.
        needs: what the method wants, of {"labels", "captions"}.
        context: tokens a caption, where captions are wanted.

    Raises:
        ValueError: if an example lacks what the method needs.
    """
    rows = pool.rows(uids)
    labels = torch.from_numpy(pool.index.label[rows].astype(np.int64))
    if "labels" in needs and bool((labels < 0).any()):
        raise ValueError(f"labels: {int((labels < 0).sum())} of {len(uids)} examples have none; take a method without labels")
    tokens = None
    if "captions" in needs:
        from models.text import tokenize

        captions = pool.column("caption", rows).to_pylist()
        if None in captions:
            missing = captions.count(None)
            raise ValueError(f"captions: {missing} of {len(uids)} examples have none; take a method without captions")
        tokens = tokenize(captions, context)
    pixels = Pixels(pool, rows, size, run.cache_gb, run.threads, run.fast_decode)
    return Examples(pixels, labels, tokens, Uids(pool.index, rows), max(1, len(pool.classes)))
