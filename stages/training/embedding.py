"""Embeddings of a pool's pictures and captions: looked up where the model made them before, computed shard by shard where not.

They are kept in .winnow/embeddings/MODEL (stages/data/embeddings.py), so a killed run goes on, and a second version of the same pool
costs no time. Their FLOPs are counted as if each were computed now: what a version cost does not depend on what was run before it.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from lightning_fabric import Fabric
from torch import Tensor

from stages import engine
from stages.data.embeddings import Store, text_key
from stages.data.loader import Pixels
from stages.data.pool import Pool
from stages.data.version import sha256
from stages.filters import with_vectors
from stages.params import ROOT, Params, Run, Version
from stages.training.device import launch
from stages.training.embedder import Embedder, open_embedder

BATCH = 256  # always as many, the last filled up: what an example gets must not depend on who else is in its batch
CHUNK = 4 * BATCH
Bar = Callable[..., Iterable[Any]]


@dataclass(frozen=True)
class Work:
    """What a worker needs to embed a chunk; each process opens the pool and the model once."""

    pool: Path
    version: Version
    params: Params
    state: str = ""  # of the pool and the weights: a worker that lives long must not go on with what it opened before they changed

    def __call__(self, chunk: Sequence[Any]) -> np.ndarray:
        """(m, D) float32 for m rows of the index, or m captions."""
        name = repr((self.pool, self.version, self.state))
        if name not in _OPENED:
            _OPENED.clear()
            pool = Pool.open(self.pool)
            _OPENED[name] = pool, open_embedder(self.version, self.params, max(1, len(pool.classes)))
        return embed(chunk, *_OPENED[name], self.params.run)


_OPENED: dict[str, tuple[Pool, Embedder]] = {}


def embed(chunk: Sequence[Any], pool: Pool, embedder: Embedder, run: Run) -> np.ndarray:
    """Embeddings (m, D) float32, of unit length, of m rows of the index, or of m captions."""
    fabric, out = launch(run), []
    fabric.to_device(embedder.module)
    for start in range(0, len(chunk), BATCH):
        batch = list(chunk[start : start + BATCH])
        with torch.no_grad(), fabric.autocast():
            vectors = _texts(batch, embedder) if isinstance(batch[0], str) else _pictures(batch, pool, embedder, run, fabric)
        out.append(torch.nn.functional.normalize(vectors[: len(batch)].float(), dim=1).cpu().numpy())
    return np.concatenate(out)


def _texts(batch: list[str], embedder: Embedder) -> Tensor:
    assert embedder.texts is not None
    return embedder.texts(batch + [batch[-1]] * (BATCH - len(batch)))


def _pictures(batch: list[int], pool: Pool, embedder: Embedder, run: Run, fabric: Fabric) -> Tensor:
    source = Pixels(pool, np.array(batch), embedder.size, 0, run.threads, run.fast_decode)
    pixels = source.get(np.arange(len(batch)))
    for uid, reason in source.lost.items():  # a stand-in is good enough to train on, and not to judge by
        raise ValueError(f"{pool.folder}: uid {uid} is lost ({reason}); run: dvc repro -f ingest")
    filled = torch.cat([pixels, pixels[-1:].expand(BATCH - len(batch), -1, -1, -1)])
    # In one memory format whatever the batch holds, so that an example's embedding does not depend on the others.
    return embedder.images(filled.contiguous().to(fabric.device))


def _code() -> str:
    """A hash of the code that decodes pictures and makes embeddings of them."""
    files = [ROOT / "stages" / name for name in ("data/images.py", "data/loader.py", "training/embedder.py", "training/embedding.py")]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files if path.is_file())).hexdigest()


class Embeddings:
    """Adds columns of embeddings to tables of a pool's rows, and counts what they cost."""

    def __init__(self, pool: Pool, version: Version, params: Params, track: Bar) -> None:
        self.pool, self.params, self.track = pool, params, track
        self.embedder = open_embedder(version, params, max(1, len(pool.classes)))
        run = params.run
        made_by = repr((self.embedder.key, version.architecture, self.embedder.size, run.precision, run.fast_decode, _code()))
        self.work = Work(pool.folder.resolve(), version, params, made_by + sha256(pool.folder / "index.parquet"))
        self.name = hashlib.sha256(made_by.encode()).hexdigest()[:24]
        where = ROOT / ".winnow" / "embeddings" / self.name
        self.images, self.texts = Store(where / "images"), Store(where / "texts")
        self._counted: set[str] = set()
        self.flops = 0
        self.reused = 0  # how many were there before

    def embedding(self, rows: np.ndarray, table: pa.Table, free: bool = False) -> pa.Table:
        """The table of these rows (n,) with a column `embedding`; `free` where somebody has paid for it."""
        uids = table["uid"].to_pylist()
        self._fill(self.images, uids, rows.tolist(), "pictures")
        self._count(uids, 0 if free else self.embedder.image_flops)
        return with_vectors(table, "embedding", self.images.get(uids))

    def text_embedding(self, _rows: np.ndarray, table: pa.Table, free: bool = False) -> pa.Table:
        """The table with a column `text_embedding`, zeros where there is no caption; `free` as above.

        Raises:
            ValueError: if the model embeds no texts.
        """
        if self.embedder.texts is None:
            raise ValueError(
                f"versions.*.model: {self.embedder.name} embeds no captions; give a reference of clip or siglip, or open_clip"
            )
        captions = table["caption"].to_pylist()
        places = [i for i, caption in enumerate(captions) if caption is not None]
        texts = [captions[i] for i in places]
        keys = [text_key(text) for text in texts]
        self._fill(self.texts, keys, texts, "captions")
        self._count(keys, 0 if free else self.embedder.text_flops)
        known = self.texts.get(keys) if keys else np.zeros((0, table["embedding"].type.list_size), np.float32)
        values = np.zeros((len(captions), known.shape[1]), np.float32)
        values[places] = known
        return with_vectors(table, "text_embedding", values)

    def _fill(self, store: Store, keys: list[str], items: list[Any], what: str) -> None:
        """Compute what is missing, a chunk at a time, each kept as soon as it is done."""
        missing = store.missing(keys)
        self.reused += len(set(keys)) - len(missing)
        chunks = [missing[start : start + CHUNK] for start in range(0, len(missing), CHUNK)]
        work: Iterator[np.ndarray] = self._computed([[items[i] for i in chunk] for chunk in chunks])
        bar = self.track(zip(chunks, work, strict=True), total=len(chunks), description=f"embed {what}")
        for chunk, vectors in bar:
            store.add([keys[i] for i in chunk], vectors)

    def _computed(self, chunks: list[list[Any]]) -> Iterator[np.ndarray]:
        cluster = self.params.engine.cluster
        if cluster:
            return engine.ordered(self.work, chunks, cluster)
        return (embed(chunk, self.pool, self.embedder, self.params.run) for chunk in chunks)  # torch has all cores already

    def _count(self, keys: list[str], each: int) -> None:
        fresh = set(keys) - self._counted
        self._counted |= fresh
        self.flops += len(fresh) * each
