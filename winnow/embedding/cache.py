"""Embeddings on disk, each computed once for a model: a store is a folder of parts, and nothing in it is ever
rewritten.

A part is a pair of `.npy` files, keys (m,) of 16 bytes and vectors (m, D) float16, named after its keys. It
is there whole or not at all, so a killed run keeps what it finished, and several processes may add to one
store. Images are kept by uid, texts by the same hash of their bytes.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from winnow.pipeline.files import replacing
from winnow.pool import uids as uid_files


def text_key(text: str) -> str:
    """The key of a caption: 32 hex digits, like a uid."""
    return uid_files.of(text.encode("utf-8", "surrogatepass"))


class Store:
    """The embeddings of one model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def missing(self, keys: Sequence[str]) -> np.ndarray:
        """Indices (m,) of the distinct keys that are not here, each at its first occurrence, in the given
        order.
        """
        packed = _packed(keys)
        _, first = np.unique(packed, return_index=True)
        first.sort()
        return first[self._find(packed[first])[0] < 0]

    def add(self, keys: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors (m, D) for m distinct keys, as float16."""
        packed = _packed(keys)
        name = hashlib.sha256(packed.tobytes()).hexdigest()[:24]
        _write(self.folder / f"{name}.vectors.npy", vectors.astype(np.float16))
        _write(self.folder / f"{name}.keys.npy", packed)  # last: a part without it does not count

    def get(self, keys: Sequence[str]) -> np.ndarray:
        """Vectors (n, D) float32 for keys (n,), scaled to unit length.

        Raises:
            ValueError: if one is not here.
        """
        part, row = self._find(_packed(keys))
        if not len(part) or part.min() < 0:
            first = keys[int(np.argmin(part))] if len(part) else "nothing"
            raise ValueError(f"{self.folder}: no embedding of {first}")
        parts = self._parts()
        out = np.empty((len(keys), np.load(_vectors(parts[0]), mmap_mode="r").shape[1]), np.float32)
        order = np.argsort(part, kind="stable")
        for indices in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
            out[indices] = np.load(_vectors(parts[part[indices[0]]]))[row[indices]]
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return out

    def _find(self, packed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which part (n,) holds each key, -1 for none, and in which row (n,)."""
        keys = [np.load(path) for path in self._parts()]
        if not keys:
            return np.full(len(packed), -1), np.zeros(len(packed), np.int64)
        known = np.concatenate(keys)
        part = np.repeat(np.arange(len(keys)), [len(one) for one in keys])
        row = np.concatenate([np.arange(len(one)) for one in keys])
        order = np.argsort(known, kind="stable")
        index = order[np.minimum(np.searchsorted(known, packed, sorter=order), len(known) - 1)]
        return np.where(known[index] == packed, part[index], -1), row[index]

    def _parts(self) -> list[Path]:
        return sorted(self.folder.glob("*.keys.npy"))


def _vectors(keys: Path) -> Path:
    return keys.with_name(keys.name.replace(".keys.", ".vectors."))


def _packed(keys: Sequence[str]) -> np.ndarray:
    """Keys of 32 hex digits -> (n,) of 16 bytes each, which sort as their digits do."""
    return np.frombuffer(bytes.fromhex("".join(keys)), "S16")


def _write(path: Path, array: np.ndarray) -> None:
    with replacing(path) as partial, partial.open("wb") as file:
        np.save(file, array)
