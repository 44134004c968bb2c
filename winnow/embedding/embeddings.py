"""Embeddings of a pool's images and captions: looked up where the model made them before, else computed chunk
by chunk.

They are kept in .winnow/embeddings/KEY (winnow/embedding/key.py, cache.py), so an interrupted run resumes,
and a second version of the same pool takes no time. Their FLOPs are counted as if each were computed now: the
cost of a version does not depend on what was run before it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from lightning_fabric import Fabric
from torch import Tensor

from models.encoders import OWN
from winnow.config.schema import Params, Run, Version
from winnow.embedding.cache import Store, text_key
from winnow.embedding.embedder import Embedder
from winnow.embedding.key import embedding_key
from winnow.embedding.open_model import open_embedder
from winnow.filters import with_vectors
from winnow.loading.pixels import Pixels
from winnow.pipeline import executors
from winnow.pipeline.workspace import Workspace
from winnow.pool.parts import Origin
from winnow.pool.pool import Pool
from winnow.training.device import launch

# Always as many, the last batch filled up: an example's embedding must not depend on the others in its batch.
BATCH = 256
CHUNK = 4 * BATCH
Track = Callable[..., Iterable[Any]]


@dataclass(frozen=True)
class EmbedChunk:
    """What a worker needs to embed a chunk; each process opens the pool and the model once.

    `state` names what lies at these paths now: a long-lived worker must not continue with a pool or weights
    that it opened before they changed.
    """

    root: Path
    pool: tuple[Origin, ...]
    version: Version
    run: Run
    state: str = ""

    def __call__(self, chunk: Sequence[Any]) -> np.ndarray:
        """(m, D) float32 for m rows of the index, or m captions."""
        name = repr((self.root, self.pool, self.version, self.state))
        if name not in _OPENED:
            _OPENED.clear()
            _OPENED[name] = Pool.join(self.pool), open_embedder(self.root, self.version)
        return embed(chunk, *_OPENED[name], self.run)


_OPENED: dict[str, tuple[Pool, Embedder]] = {}


def embed(chunk: Sequence[Any], pool: Pool, embedder: Embedder, run: Run) -> np.ndarray:
    """Embeddings (m, D) float32, of unit length, of m rows of the index, or of m captions."""
    fabric, out = launch(run), []
    fabric.to_device(embedder.module)
    for start in range(0, len(chunk), BATCH):
        batch = list(chunk[start : start + BATCH])
        with torch.no_grad(), fabric.autocast():
            if isinstance(batch[0], str):
                vectors = _texts(batch, embedder)
            else:
                vectors = _images(batch, pool, embedder, run, fabric)
        out.append(torch.nn.functional.normalize(vectors[: len(batch)].float(), dim=1).cpu().numpy())
    return np.concatenate(out)


def _texts(batch: list[str], embedder: Embedder) -> Tensor:
    assert embedder.texts is not None
    return embedder.texts(batch + [batch[-1]] * (BATCH - len(batch)))


def _images(batch: list[int], pool: Pool, embedder: Embedder, run: Run, fabric: Fabric) -> Tensor:
    source = Pixels(pool, np.array(batch), embedder.size, 0, run.threads, run.fast_decode)
    pixels = source.get(np.arange(len(batch)))
    for uid, reason in source.lost.items():  # training accepts a substitute, a filter must not judge by one
        raise ValueError(f"{pool.folder}: uid {uid} is unreadable ({reason}); run: dvc repro -f ingest")
    filled = torch.cat([pixels, pixels[-1:].expand(BATCH - len(batch), -1, -1, -1)])
    # In one memory format whatever the batch holds, for the same reason as one size of batch.
    return embedder.images(filled.contiguous().to(fabric.device))


class Embeddings:
    """Adds columns of embeddings to tables of a pool's rows, and counts what they cost.

    `flops` is what the embeddings so far cost, `reused` how many of them were there before, without those
    that an ancestor has paid for. `kept` is called with the number computed here before more are stored.
    """

    def __init__(
        self, pool: Pool, version: Version, params: Params, workspace: Workspace, track: Track
    ) -> None:
        self.pool, self.params, self.track = pool, params, track
        self.embedder = open_embedder(workspace.root, version)
        made_by, run = self.embedder, params.run
        weights, by = made_by.weights, made_by.normalisation
        weights += "" if by == OWN else f" {by}"
        self.name = embedding_key(weights, version.architecture, made_by.size, run, made_by.plugins)
        folder = workspace.embeddings / self.name
        self.images, self.texts = Store(folder / "images"), Store(folder / "texts")
        state = f"{self.name} {sorted(pool.digests.items())}"
        self.embed_chunk = EmbedChunk(workspace.root, tuple(pool.origins), version, run, state)
        self.flops = self.reused = self.computed = 0
        self.kept: Callable[[int], None] = lambda count: None
        self._counted: set[str] = set()

    def embedding(self, rows: np.ndarray, table: pa.Table, paid: bool = False) -> pa.Table:
        """The table of these rows (n,) with a column `embedding`; `paid` if an ancestor has paid for it."""
        uids = table["uid"].to_pylist()
        self._fill(self.images, uids, rows.tolist(), "images", paid)
        self._count(uids, 0 if paid else self.embedder.image_flops)
        return with_vectors(table, "embedding", self.images.get(uids))

    def text_embedding(self, _rows: np.ndarray, table: pa.Table, paid: bool = False) -> pa.Table:
        """The table, which has a column `embedding`, with a column `text_embedding`, zeros where there is no
        caption.

        Raises:
            ValueError: if the model embeds no captions.
        """
        if self.embedder.texts is None:
            raise ValueError(
                f"versions.*.model: {self.embedder.name} embeds no captions; give a reference of clip or "
                "siglip, or open_clip"
            )
        captions = table["caption"].to_pylist()
        captioned = [i for i, caption in enumerate(captions) if caption is not None]
        texts = [captions[i] for i in captioned]
        keys = [text_key(text) for text in texts]
        self._fill(self.texts, keys, texts, "captions", paid)
        self._count(keys, 0 if paid else self.embedder.text_flops)
        values = np.zeros((len(captions), table["embedding"].type.list_size), np.float32)
        if keys:
            values[captioned] = self.texts.get(keys)
        return with_vectors(table, "text_embedding", values)

    def _fill(self, store: Store, keys: list[str], items: list[Any], what: str, paid: bool) -> None:
        """Compute what is missing, a chunk at a time, each kept as soon as it is done."""
        missing = store.missing(keys)
        self.reused += 0 if paid else len(set(keys)) - len(missing)
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        computed = self._compute([[items[i] for i in chunk] for chunk in chunks])
        pairs = zip(chunks, computed, strict=True)
        shown = {"description": f"embed {what}", "unit": "img" if what == "images" else what, "per": CHUNK}
        for chunk, vectors in self.track(pairs, total=len(chunks), **shown):
            self.computed += len(chunk)
            self.kept(self.computed)
            store.add([keys[i] for i in chunk], vectors)

    def _compute(self, chunks: list[list[Any]]) -> Iterator[np.ndarray]:
        if cluster := self.params.engine.cluster:
            return executors.ordered(self.embed_chunk, chunks, cluster)
        # In this process, because torch uses all cores.
        return (embed(chunk, self.pool, self.embedder, self.params.run) for chunk in chunks)

    def _count(self, keys: list[str], each: int) -> None:
        fresh = set(keys) - self._counted
        self._counted |= fresh
        self.flops += len(fresh) * each
