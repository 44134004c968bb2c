"""Writes the pool's shards: plain WebDataset tars, each closed when it is full.

As `webdataset.ShardWriter` writes them, to the byte (a test compares), by the standard library's tarfile: to import webdataset is
to import torch, which would be half a gigabyte and seconds of a stage that trains nothing.
"""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

BLOCK = 512


class Shards:
    """`path % number` for number = `first`, `first` + 1, ...; a shard of `max_count` samples or `max_bytes` of data is full.

    `full(path)` is called when a full shard was closed, before the next sample is written; the first shard is there at once.
    """

    def __init__(self, path: str, max_count: int, max_bytes: float, first: int, full: Callable[[Path], None]) -> None:
        self.path, self.max_count, self.max_bytes, self.full = path, max_count, max_bytes, full
        self.number = first
        self._open()

    def write(self, key: str, members: dict[str, bytes]) -> tuple[int, dict[str, int]]:
        """Append KEY.EXT for each member, sorted; returns the shard, and where in it each member's data begin."""
        if self.count >= self.max_count or self.size >= self.max_bytes:
            self.tar.close()
            self.full(Path(self.path % self.number))
            self.number += 1
            self._open()
        offsets = {}
        for ext, data in sorted(members.items()):
            info = tarfile.TarInfo(f"{key}.{ext}")
            info.size, info.mode, info.uname, info.gname = len(data), 0o444, "bigdata", "bigdata"
            offsets[ext] = self.tar.offset + BLOCK
            self.tar.addfile(info, io.BytesIO(data))
            self.size += len(data)
        self.tar.members.clear()  # type: ignore[attr-defined]  # tarfile keeps them all, for a reader
        self.count += 1
        return self.number, offsets

    def close(self) -> None:
        """End the last shard."""
        self.tar.close()

    def _open(self) -> None:
        self.tar = tarfile.open(self.path % self.number, "w|")  # noqa: SIM115
        self.count, self.size = 0, 0
