"""Image files by name: one that cannot be read becomes an `Unreadable`, which ingest drops and counts."""

import stat
from pathlib import Path
from typing import Any, BinaryIO

from winnow.ingest.example import Example, Unreadable


class NotAFile(OSError):
    """A FIFO, a socket or a device: opening one may wait for ever, or never end."""


def check(path: Path | str) -> None:
    """Check that a file can be opened without waiting.

    Raises:
        NotAFile: for a FIFO, a socket or a device.
        OSError: if it is not there.
    """
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # `open` itself refuses a folder
        raise NotAFile(f"{path}: not a regular file")


def opened(path: Path | str) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        NotAFile: as `check`.
        OSError: if it cannot be opened.
    """
    check(path)
    return open(path, "rb")


def read(path: Path | str) -> bytes:
    """The bytes of a regular file; raises as `opened`."""
    with opened(path) as file:
        return file.read()


def example(path: Path, key: str, split: str, label: int | None, caption: str | None) -> Example:
    """The example whose image is this file; `Unreadable` with the reason if it cannot be read."""
    try:
        return Example(key, read(path), split, label, caption)
    except NotAFile:
        reason = "not_a_file"
    except OSError as error:
        reason = f"unreadable_file_{type(error).__name__}"
    return Unreadable(key, b"", split, label, caption, reason=reason)


def listed(root: Path, name: str, key: str, split: str, label: int | None, caption: str | None) -> Example:
    """`example` of a file that a list names, which must lie below the folder `root`."""
    try:
        path = (root / name).resolve()
        if path.is_relative_to(root.resolve()):
            return example(path, key, split, label, caption)
        reason = "path_outside"
    except RuntimeError:  # a loop of links, before Python 3.13; from there on, opening it is an OSError
        reason = "unreadable_file_OSError"
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = f"unreadable_file_{type(error).__name__}"
    return Unreadable(key, b"", split, label, caption, reason=reason)


def image_cell(cell: Any) -> tuple[bytes | None, str]:
    """The bytes and the file's name in a table's cell: bytes, a name, or Hugging Face's {bytes, path}."""
    if isinstance(cell, dict):
        return cell.get("bytes"), str(cell.get("path") or "")
    return (cell, "") if isinstance(cell, bytes) else (None, cell if isinstance(cell, str) else "")
