"""alignment: drop pairs whose caption does not tell what the picture shows, by the cosine of their embeddings.

The CLIP score of DataComp (Gadre et al. 2023, arXiv 2304.14108), by the image and text towers of whatever model made the
embeddings. A threshold belongs to a model: with OpenAI's CLIP ViT-B/32, LAION-2B kept 0.28 and more, and DataComp tried 0.25;
its best plain filter kept the top 30 % by ViT-L/14. A fraction needs no such knowledge, so with your own model begin there.
"""

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stages.filters import vectors, verdicts

READS = ("embedding", "text_embedding")
CHUNK = 16_384  # rows


@dataclass
class Config:
    threshold: float | None = None  # keep a cosine of at least this, -1 to 1
    fraction: float | None = None  # keep this part of the rows with a caption, the best aligned; with both, a row must pass both

    def __post_init__(self) -> None:
        if self.threshold is None and self.fraction is None:
            raise ValueError("threshold: null and fraction: null keep nothing apart; give one, such as fraction: 0.3")
        if self.threshold is not None and not -1 <= self.threshold <= 1:
            raise ValueError(f"threshold: {self.threshold} is no cosine; allowed: -1 to 1")
        if self.fraction is not None and not 0 < self.fraction <= 1:
            raise ValueError(f"fraction: {self.fraction} is out of range; allowed: above 0, to 1")


def apply(pool: pa.Table, config: Config) -> pa.Table:
    """Reads the columns embedding and text_embedding (zeros where there is no caption); the reasons are no_caption and misaligned.

    The fraction is rounded up, and rows that tie with the last one kept are kept too.
    """
    image, text = vectors(pool, "embedding"), vectors(pool, "text_embedding")
    captioned, score = np.zeros(len(pool), bool), np.zeros(len(pool))
    for start in range(0, len(pool), CHUNK):  # doubles, so that no order of the sums shows; not all rows as doubles at once
        part = slice(start, start + CHUNK)
        captioned[part] = text[part].any(axis=1)
        score[part] = np.einsum("nd,nd->n", image[part], text[part], dtype=np.float64)
    keep = captioned.copy()
    if config.threshold is not None:
        keep = keep & (score >= config.threshold)
    if config.fraction is not None and captioned.any():
        ranked = np.sort(score[captioned])[::-1]
        keep = keep & (score >= ranked[math.ceil(round(config.fraction * len(ranked), 9)) - 1])
    answer = verdicts(pool, keep, "misaligned")
    return answer.set_column(2, "reason", pc.if_else(pa.array(captioned), answer["reason"].combine_chunks(), "no_caption"))
