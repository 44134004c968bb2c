"""Files that are whole or not there, and JSON whose equal values are equal bytes."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield another name to write to, which takes the path's place in one step when nothing was raised.

    The folder is made if it is not there. Two processes may write the same path: the last one wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any, sort_keys: bool = True) -> None:
    """Indented, with a final newline; keys sorted unless their order has a meaning."""
    text = json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=sort_keys) + "\n"
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def read_json(path: Path, mend: str = "make it again with: dvc repro -f") -> dict[str, Any]:
    """A JSON object.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: naming the file and the mend, when it holds something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error}); {mend}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {type(value).__name__} at the top; it must be a JSON object; {mend}")
    return value


def sha256(path: Path) -> str:
    """Of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
