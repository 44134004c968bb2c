"""The names of files and classes as text."""

import os


def text(name: str) -> str:
    """A file's name as text that any table can hold, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def caption(name: str) -> str:
    """The template caption of a class."""
    return f"a photo of {name.replace('_', ' ')}"
