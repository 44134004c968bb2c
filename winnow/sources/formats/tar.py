"""The members of a tar, in order, from any file that reads forwards. Nothing is unpacked.

tarfile reads long names, pax records and sparse maps into memory, whatever their size; here the headers of
one member may take `HEADER_BYTES`, a member `MEMBER_BYTES`, and no header may lead backwards. So a hostile
tar costs no more memory than one member.
"""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from winnow.sources.formats.remote import Unreachable

BLOCK = 512
HEADER_BYTES = 1 << 20
MEMBER_BYTES = 320_000_000  # 1e8 pixels of three bytes, and their header


class Damaged(Exception):
    """A tar cannot be read any further: it is cut, or a header is broken."""


@dataclass(frozen=True)
class Member:
    """A member that is no folder; `trouble` is the reason why its bytes cannot be used, None if they can."""

    name: str
    size: int
    offset: int  # of its bytes
    trouble: str | None
    file: BinaryIO

    def read(self) -> bytes:
        """The bytes; only before the next member is read.

        Raises:
            Damaged: if the tar ends before them.
        """
        self.file.seek(self.offset)
        data = self.file.read(self.size)
        if len(data) < self.size:
            raise Damaged
        return data


def members(file: BinaryIO) -> Iterator[Member]:
    """Every member of a tar.

    Raises:
        Damaged: after those that could be read.
        Unreachable: if a remote file cannot be read any further.
    """
    headers = _Headers(file)
    try:
        tar = tarfile.TarFile(fileobj=headers, encoding="utf-8")  # type: ignore[arg-type]
        before = 0
        while (info := _next(tar, headers)) is not None:
            if info.size < 0 or tar.offset <= before:
                raise Damaged
            before = tar.offset
            if not info.isdir():
                yield Member(info.name, info.size, info.offset_data, _trouble(info), file)
    except (Damaged, Unreachable):
        raise
    except Exception as error:  # on a damaged header tarfile raises anything from ReadError to OverflowError
        raise Damaged from error
    # A complete archive ends with zeros; tarfile takes a cut or damaged header for the end too.
    if headers.last != bytes(BLOCK):
        raise Damaged


def _next(tar: tarfile.TarFile, headers: "_Headers") -> tarfile.TarInfo | None:
    tar.members = []  # type: ignore[attr-defined]  # else all headers of a shard would stay in memory
    tar.pax_headers = {}  # likewise; global records concern archivers, not names and bytes
    headers.left = HEADER_BYTES
    return tar.next()


def _trouble(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return "link_in_shard"
    if info.issparse():
        return "sparse_member"
    if not info.isreg():
        return "not_a_file"
    return "too_large_member" if info.size > MEMBER_BYTES else None


class _Headers:
    """The file as tarfile sees it, which reads nothing but headers from it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.left = HEADER_BYTES
        self.last = b""

    def read(self, size: int) -> bytes:
        self.left -= size
        if size < 0 or self.left < 0:
            raise Damaged
        self.last = self.file.read(size)
        return self.last

    def seek(self, offset: int) -> int:
        return self.file.seek(offset)

    def tell(self) -> int:
        return self.file.tell()
