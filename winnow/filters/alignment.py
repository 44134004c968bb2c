"""alignment: drop pairs whose caption does not describe the image, by the cosine of their embeddings.

The CLIP score of DataComp (Gadre et al. 2023, arXiv 2304.14108), by the image and text towers of whatever
model made the embeddings. A threshold belongs to a model: with OpenAI's CLIP ViT-B/32, LAION-2B kept 0.28 and
more, and DataComp tried 0.25; its best plain filter kept the top 30 % by ViT-L/14. A fraction needs no such
knowledge, so begin there with a model of your own.
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from winnow.config.bounds import bounded
from winnow.config.errors import ParamsError
from winnow.filters import vectors, verdicts

EXTRA_COLUMNS = ("embedding", "text_embedding")
CHUNK = 16_384  # rows


@dataclass
class Config:
    """With both, a row must pass both."""

    threshold: float | None = bounded(None, -1, 1)  # keep a cosine of at least this
    fraction: float | None = bounded(None, above=0, high=1)  # keep this part of the captioned rows, the best

    def check(self, key: str) -> None:
        if self.threshold is None and self.fraction is None:
            raise ParamsError(f"{key}: threshold and fraction are null; give one, such as fraction: 0.3")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the columns embedding and text_embedding (zeros where there is no caption); the reasons are
    no_caption and misaligned.

    The fraction is rounded up, and rows that tie with the last one kept are kept too.
    """
    captioned, score = scores(vectors(pool, "embedding"), vectors(pool, "text_embedding"))
    keep = captioned.copy()
    if config.threshold is not None:
        keep &= score >= config.threshold
    if config.fraction is not None and captioned.any():
        ranked = np.sort(score[captioned])[::-1]
        keep &= score >= ranked[math.ceil(round(config.fraction * len(ranked), 9)) - 1]
    return verdicts(pool, keep, np.where(captioned, "misaligned", "no_caption"))


def scores(image: np.ndarray, text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which rows (n,) have a caption, and the cosines (n,) of embeddings (n, d) of unit length.

    In float64, so that the order of the sums does not show; in chunks, so that not all rows are float64 at
    once.
    """
    captioned, score = np.zeros(len(image), bool), np.zeros(len(image))
    for start in range(0, len(image), CHUNK):
        part = slice(start, start + CHUNK)
        captioned[part] = text[part].any(axis=1)
        score[part] = np.einsum("nd,nd->n", image[part], text[part], dtype=np.float64)
    return captioned, score
