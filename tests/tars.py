"""The one helper by which tests write tar shards: `from tests.tars import write_tar`."""

import io
import tarfile
from pathlib import Path

Member = tuple[str, bytes] | tarfile.TarInfo


def tar_bytes(*members: Member, mode: str = "w", format: int = tarfile.DEFAULT_FORMAT) -> bytes:
    """The bytes of a tar.

    Args:
        members: (name, content) of a plain file; or a `TarInfo` of anything else, whose content are as many x
            as its size says.
        mode: of tarfile, such as `w:gz`.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format) as tar:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member, io.BytesIO(b"x" * member.size))
                continue
            name, content = member
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_tar(path: Path, *members: Member, mode: str = "w", format: int = tarfile.DEFAULT_FORMAT) -> Path:
    """Write `tar_bytes` to a file, whose folder is made if it is not there; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(*members, mode=mode, format=format))
    return path
