"""Embeddings on disk, each computed once for a model: a store is a folder of parts, and nothing in it is ever rewritten.

A part is a pair of `.npy` files, keys (m,) of 16 bytes and vectors (m, D) float16, named after its keys. It is there whole or not at
all, so a killed run keeps what it finished, and several processes may add to one store. Images are kept by uid, texts by the same hash
of their words.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stages.data import uids as uid_files


def text_key(text: str) -> str:
    """What a caption is kept by: 32 hex digits, like a uid."""
    return uid_files.of(text.encode("utf-8", "surrogatepass"))


class Store:
    """The embeddings that one model made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def missing(self, keys: Sequence[str]) -> np.ndarray:
        """Places (m,) of the distinct keys that are not here, each at its first occurrence, in the given order."""
        wanted = _packed(keys)
        _, first = np.unique(wanted, return_index=True)
        known = np.zeros(len(wanted), bool)
        for _, part in self._parts():
            known |= np.isin(wanted, part)
        first.sort()
        return first[~known[first]]

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
        wanted, out = _packed(keys), None
        found = np.zeros(len(wanted), bool)
        for path, part in self._parts():
            order = np.argsort(part)
            place = np.minimum(np.searchsorted(part, wanted, sorter=order), len(part) - 1)
            mine = (part[order[place]] == wanted) & ~found
            vectors = np.load(path, mmap_mode="r")
            out = np.zeros((len(wanted), vectors.shape[1]), np.float32) if out is None else out
            out[mine] = vectors[order[place[mine]]]
            found |= mine
        if out is None or not found.all():
            raise ValueError(f"{self.folder}: no embedding of {keys[int(np.argmin(found))]}")
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)
        return out

    def _parts(self) -> list[tuple[Path, np.ndarray]]:
        keys = sorted(self.folder.glob("*.keys.npy"))
        return [(path.with_name(path.name.replace(".keys.", ".vectors.")), np.load(path)) for path in keys]


def _packed(keys: Sequence[str]) -> np.ndarray:
    """Keys of 32 hex digits -> (n,) of 16 bytes each, which sort as their digits do."""
    return np.frombuffer(bytes.fromhex("".join(keys)), "S16")


def _write(path: Path, array: np.ndarray) -> None:
    partial = path.with_suffix(f".{os.getpid()}")
    with open(partial, "wb") as file:
        np.save(file, array)
    os.replace(partial, path)
