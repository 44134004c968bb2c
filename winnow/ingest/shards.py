"""Writes the pool's shards: plain WebDataset tars, each closed when it is full.

Byte for byte as `webdataset.ShardWriter` writes them (a test compares), but by the standard library's
tarfile: importing webdataset imports torch, half a gigabyte and seconds for a stage that trains nothing.
"""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

BLOCK = 512


class Shards:
    """Writes `path % number` for number = `first`, `first` + 1, ...; the first shard is created at once.

    A shard is full at `max_count` samples or `max_bytes` of data. `full(path)` is called once a full shard is
    closed, before the next sample is written.
    """

    def __init__(
        self, path: str, max_count: int, max_bytes: float, first: int, full: Callable[[Path], None]
    ) -> None:
        self.path, self.max_count, self.max_bytes, self.full = path, max_count, max_bytes, full
        self.number = first
        self._open()

    def write(self, key: str, members: dict[str, bytes]) -> tuple[int, dict[str, int]]:
        """Append KEY.EXT for each member, sorted by extension.

        Returns:
            The shard's number, and for each extension the byte offset of its data in the shard.
        """
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
