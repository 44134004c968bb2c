"""Image files that a list names: only those below its folder are read, and one that cannot be read is counted, not missed."""

from pathlib import Path

from stages.sources import Example
from stages.sources._lost import Lost


def example(root: Path, name: str, key: str, split: str, label: int | None, caption: str | None) -> Example:
    """The example whose image is the file `name` below `root`; `Lost` where it lies elsewhere or cannot be read."""
    try:
        path = (root / name).resolve()
        if not path.is_relative_to(root.resolve()):
            return Lost(key, b"", split, label, caption, reason="path_outside")
        return Example(key, path.read_bytes(), split, label, caption)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        return Lost(key, b"", split, label, caption, reason=f"unreadable_file_{type(error).__name__}")
