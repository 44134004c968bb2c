"""A set of examples to train or evaluate on: pixels by index, with labels and tokens beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from models.encoders import OWN, Normalisation
from models.methods import Batch
from winnow.config.schema import Params, View
from winnow.loading.pictures import WholePictures
from winnow.loading.pixels import Pixels, Source
from winnow.loading.views import Images, make
from winnow.pool.index import Uids
from winnow.pool.pool import Pool


@dataclass
class Examples:
    """n examples: `pixels` on demand, `labels` (n,) int64, `tokens` (n, L) int64 or None.

    `pixels` gives tensors (k, 3, S, S), or whole pictures where views are cut from them.
    `normalisation` is that of the encoder which the views of a `batch` are for.
    """

    pixels: Source[Any]
    labels: Tensor
    tokens: Tensor | None
    uids: Sequence[str]
    classes: int
    normalisation: Normalisation = OWN

    def __len__(self) -> int:
        return len(self.uids)

    def batch(
        self,
        indices: np.ndarray,
        images: Images,
        views: dict[str, View],
        generator: Generator,
        device: torch.device,
        patch_size: int | None = None,
    ) -> Batch:
        """Views of `images`, the pixels of `indices` (k,), with their labels and tokens.

        Where another picture stands in for a lost one, label and tokens are those of the stand-in.
        """
        chosen = torch.from_numpy(self.pixels.substituted_indices(indices))
        labels = self.labels[chosen].to(device)
        tokens = None if self.tokens is None else self.tokens[chosen].to(device)
        drawn = make(images.to(device), views, generator, self.normalisation)
        return Batch(drawn, labels, tokens, patch_size)


def examples(
    pool: Pool,
    uids: Sequence[str] | np.ndarray,
    size: int,
    params: Params,
    needs: frozenset[str] = frozenset(),
    context: int = 0,
    views: Iterable[View] = (),
    normalisation: Normalisation = OWN,
) -> Examples:
    """Open the examples with these uids.

    Args:
        uids: text, or an array as in a version's uids.npy, which is much faster and smaller.
        needs: what the method needs, of {"labels", "captions"}.
        context: tokens per caption, where captions are needed.
        views: all that will be cut, by their recipe, from the whole pictures. Without them, and where every
            picture is stored at `size` x `size` pixels already, the pixels are centre squares of that size.
        normalisation: of the encoder that will get the views.

    Raises:
        ValueError: if an example lacks what the method needs.
    """
    rows = pool.rows(uids)
    labels = torch.from_numpy(pool.index.label[rows].astype(np.int64))
    if "labels" in needs:
        _require("labels", int((labels < 0).sum()), len(uids))
    tokens = _tokens(pool, rows, context) if "captions" in needs else None
    pixels, named = _source(pool, rows, size, params, list(views)), Uids(pool.index, rows)
    return Examples(pixels, labels, tokens, named, max(1, len(pool.classes)), normalisation)


def _source(pool: Pool, rows: np.ndarray, size: int, params: Params, views: list[View]) -> Source[Any]:
    run, cache_gb = params.run, params.engine.cache_gb
    if views and ((sides := pool.sides(rows)) != size).any():
        return WholePictures(pool, rows, sides, views, size, cache_gb, run.threads)
    return Pixels(pool, rows, size, cache_gb, run.threads, run.fast_decode)


def _tokens(pool: Pool, rows: np.ndarray, context: int) -> Tensor:
    from models.text import tokenize  # open_clip takes a second to import

    captions = pool.column("caption", rows).to_pylist()
    _require("captions", captions.count(None), len(rows))
    return tokenize(captions, context)


def _require(what: str, missing: int, count: int) -> None:
    if missing:
        raise ValueError(f"{what}: {missing} of {count} examples have none; take a method without {what}")
