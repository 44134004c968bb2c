"""Files behind URLs, by fsspec (http, s3, gs, ...): streamed, never on disk, resumed if a connection breaks.

Only one block of a file is in memory. Where a server gives byte ranges (nginx, S3), a new attempt requests
the bytes not yet read; elsewhere it starts again and skips them. Endpoints and credentials are fsspec's own
affair: its configuration (FSSPEC_S3_ENDPOINT_URL, AWS_ENDPOINT_URL, ~/.config/fsspec), or `storage`, the
arguments of the fsspec file system.
"""

import io
import os
import time
from typing import Any

import fsspec

BLOCK_BYTES = 4 << 20  # of one request
WAITS = (0.5, 2.0, 8.0)  # seconds before each new attempt


class Unreachable(Exception):
    """A file behind a URL cannot be read, or not any further."""


def is_url(path: str) -> bool:
    """Whether `path` names a protocol."""
    return "://" in path


def names(url: str, storage: dict[str, Any]) -> list[str]:
    """The URLs of the files in a folder, sorted; of an http server, those its index page links to.

    Raises:
        Unreachable: if it cannot be listed.
    """
    try:
        system, path = fsspec.core.url_to_fs(url, **storage)
        entries = system.ls(path.rstrip("/") + "/" if url.startswith("http") else path, detail=True)
    except Exception as error:
        raise Unreachable(_line(error)) from None
    return sorted(system.unstrip_protocol(entry["name"]) for entry in entries if entry["type"] == "file")


def exists(url: str, storage: dict[str, Any]) -> bool:
    """Whether there is such a file: False only if the server says so, or forbids the question.

    Raises:
        Unreachable: if it does not answer after some attempts.
    """
    for wait in (*WAITS, None):
        try:
            system, path = fsspec.core.url_to_fs(url, **storage)
            system.info(path)
            return True
        except (FileNotFoundError, PermissionError):
            return False
        except Exception as error:  # each library has its own error for a broken connection
            if 400 <= getattr(error, "status", 500) < 500:
                return False
            if wait is None:
                raise Unreachable(_line(error)) from None
            time.sleep(wait)
    raise AssertionError("unreachable")


class Remote(io.RawIOBase):
    """A file behind a URL. Seeking is free where the server gives ranges; elsewhere it reads and discards.

    Raises:
        Unreachable: from `read` and `seek`, if the last attempt failed, or the file changed meanwhile.
    """

    def __init__(self, url: str, storage: dict[str, Any]) -> None:
        self.url, self.storage = url, storage
        self.place = 0
        self.size: int | None = None
        self.identity: tuple[Any, ...] = ()
        self.file: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            self._try(0)
            if self.size is None:
                raise Unreachable(f"{self.url}: the server does not give its size")
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: self.size or 0}[whence]
        self.place = max(0, start + offset)
        return self.place

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, or all; fewer only at the end."""
        pieces, left = [], size if size >= 0 else 1 << 62
        while left and (piece := self._try(min(left, BLOCK_BYTES))):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._drop()
        super().close()

    def _try(self, size: int) -> bytes:
        """At most `size` bytes from `place` on; none only at the end."""
        for wait in (*WAITS, None):
            try:
                data = self._once(size)
                self.place += len(data)
                return data
            except Unreachable:
                raise
            except Exception as error:  # each library has its own error for a broken connection
                self._drop()
                if wait is None or _lasting(error):
                    raise Unreachable(f"{self.url}: {_line(error)}") from None
                time.sleep(wait)
        raise AssertionError

    def _once(self, size: int) -> bytes:
        if self.file is None:
            self._open()
        if size == 0 or (self.size is not None and self.place >= self.size):
            return b""
        if self.file.tell() != self.place:
            self._move()
        data: bytes = self.file.read(size)
        if not data and self.size is not None:
            raise ConnectionError("ended early")
        return data

    def _open(self) -> None:
        system, path = fsspec.core.url_to_fs(self.url, **self.storage)
        info = system.info(path)
        identity = (info.get("size"), info.get("ETag"))
        if self.identity and identity != self.identity:
            raise Unreachable(f"{self.url}: changed while it was read")
        self.size, self.identity = info.get("size"), identity
        self.file = system.open(path, "rb", block_size=BLOCK_BYTES, cache_type="readahead")

    def _move(self) -> None:
        """Bring the open file to `place`."""
        try:
            self.file.seek(self.place)
            return
        except ValueError:  # http without ranges
            pass
        if self.file.tell() > self.place:
            self._drop()
            self._open()
        while (left := self.place - self.file.tell()) > 0 and self.file.read(min(left, BLOCK_BYTES)):
            pass

    def _drop(self) -> None:
        file, self.file = getattr(self, "file", None), None
        if file is not None:
            file.close()


def _lasting(error: Exception) -> bool:
    """Whether another attempt would fail as well.

    fsspec raises FileNotFoundError also for a server that is down, with its cause.
    """
    cause = error.__cause__ or error
    status = getattr(cause, "status", None)
    if isinstance(status, int):
        return 400 <= status < 500 and status not in (408, 429)
    if isinstance(error, ImportError):
        return True
    missing = isinstance(error, FileNotFoundError | PermissionError)
    return missing and (cause is error or not isinstance(cause, OSError))


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
