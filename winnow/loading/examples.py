"""A set of examples to train or evaluate on: pixels by index, with labels and tokens beside them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from models.methods import Batch
from winnow.config.schema import Params, View
from winnow.loading.pixels import Pixels
from winnow.loading.views import make
from winnow.pool.index import Uids
from winnow.pool.pool import Pool


@dataclass
class Examples:
    """n examples: `pixels` (n, 3, S, S) on demand, `labels` (n,) int64, `tokens` (n, L) int64 or None."""

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
        patch_size: int | None = None,
    ) -> Batch:
        """Views of `images` (k, 3, S, S) uint8, the pixels of `indices` (k,), with their labels and tokens.

        Where another picture stands in for a lost one, label and tokens are those of the stand-in.
        """
        chosen = torch.from_numpy(self.pixels.substituted_indices(indices))
        labels = self.labels[chosen].to(device)
        tokens = None if self.tokens is None else self.tokens[chosen].to(device)
        return Batch(make(images.to(device), views, generator), labels, tokens, patch_size)


def examples(
    pool: Pool,
    uids: Sequence[str] | np.ndarray,
    size: int,
    params: Params,
    needs: frozenset[str] = frozenset(),
    context: int = 0,
) -> Examples:
    """Open the examples with these uids.

    Args:
        uids: text, or an array as in a version's uids.npy, which is much faster and smaller.
        needs: what the method needs, of {"labels", "captions"}.
        context: tokens per caption, where captions are needed.

    Raises:
        ValueError: if an example lacks what the method needs.
    """
    rows = pool.rows(uids)
    labels = torch.from_numpy(pool.index.label[rows].astype(np.int64))
    if "labels" in needs:
        _require("labels", int((labels < 0).sum()), len(uids))
    tokens = _tokens(pool, rows, context) if "captions" in needs else None
    run, cache_gb = params.run, params.engine.cache_gb
    pixels = Pixels(pool, rows, size, cache_gb, run.threads, run.fast_decode)
    return Examples(pixels, labels, tokens, Uids(pool.index, rows), max(1, len(pool.classes)))


def _tokens(pool: Pool, rows: np.ndarray, context: int) -> Tensor:
    from models.text import tokenize  # open_clip takes a second to import

    captions = pool.column("caption", rows).to_pylist()
    _require("captions", captions.count(None), len(rows))
    return tokenize(captions, context)


def _require(what: str, missing: int, count: int) -> None:
    if missing:
        raise ValueError(f"{what}: {missing} of {count} examples have none; take a method without {what}")
