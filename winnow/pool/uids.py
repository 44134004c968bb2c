"""Identity: the uid of an image, files of uids in DataComp's subset format, and uniform draws from names.

Source of the subset format: DataComp, `baselines/apply_filter.py` and `resharder.py` (Gadre et al. 2023,
arXiv 2304.14108).
"""

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np

DTYPE = np.dtype("u8,u8")


def of(data: bytes) -> str:
    """The uid of stored image bytes: the first 128 bits of their SHA-256, 32 hex digits."""
    return hashlib.sha256(data).hexdigest()[:32]


def fraction(*parts: object) -> float:
    """A uniform draw from [0, 1) that depends on `parts` alone: the same in every process, order and run."""
    text = "\0".join(map(str, parts)).encode("utf-8", "backslashreplace")
    return (int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 11) / 2**53


def save(path: Path | str, uids: Iterable[str]) -> None:
    """Write uids, sorted, as an `.npy` of dtype "u8,u8", shape (n,), that DataComp's `resharder.py` reads.

    Raises:
        ValueError: for a uid that is not 32 hex digits, or one that occurs twice.
    """
    ordered = sorted(uids)
    for uid in ordered:
        if len(uid) != 32 or set(uid) - set("0123456789abcdef"):
            raise ValueError(f"{path}: {uid!r} is not a uid, which has 32 lower-case hex digits")
    for uid, following in pairwise(ordered):
        if uid == following:
            raise ValueError(f"{path}: uid {uid} occurs twice; a version holds each uid once")
    with open(path, "wb") as file:
        np.save(file, np.array([(int(u[:16], 16), int(u[16:32], 16)) for u in ordered], DTYPE))


def load(path: Path | str) -> list[str]:
    """Read what `save` or DataComp wrote: sorted uids of 32 hex digits.

    Raises:
        ValueError: if the file is no such array.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a uid file: {str(error).splitlines()[0]}") from None
    if not isinstance(array, np.ndarray) or array.dtype != DTYPE or array.ndim != 1:
        raise ValueError(f'{path}: not a uid file, which is a one-dimensional array of dtype "u8,u8"')
    return [f"{high:016x}{low:016x}" for high, low in np.sort(array).tolist()]
