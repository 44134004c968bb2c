"""What `dataset.path` of shards may say, and the files it means: local paths and URLs alike.

FOLDER           its *.tar, or those of FOLDER/shards; behind a URL, as the store lists it
FILE.tar         one shard
SHARD-{0..9}.tar brace expansion, as WebDataset's users write it
LIST.txt         any of these, one a line; "#" begins a comment, local paths are relative to the list
"""

import contextlib
import os
import posixpath
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit, urlunsplit

import braceexpand

from stages.params import ParamsError
from stages.sources import _remote

MOST = 1_000_000  # shards; 1e10 examples
LIST_BYTES = 200_000_000


@dataclass(frozen=True)
class Shard:
    """A tar at a path or URL; its examples' keys begin with `name`."""

    place: str
    name: str
    storage: dict[str, Any]

    @property
    def file(self) -> str:
        """The file's name."""
        return posixpath.basename(_path(self.place))

    def open(self) -> BinaryIO:
        """The tar, as it lies there.

        Raises:
            OSError: when a local file cannot be opened.
        """
        return opened(self.place, self.storage)

    def beside(self, ending: str) -> "Shard | None":
        """The file of the same name with this ending instead of .tar, if there is one."""
        other = Shard(_renamed(self.place, os.path.splitext(_path(self.place))[0] + ending), self.name, self.storage)
        return other if present(other.place, self.storage) else None


def opened(place: str, storage: dict[str, Any]) -> BinaryIO:
    """A file at a path or URL, for reading."""
    return cast(BinaryIO, _remote.Remote(place, storage)) if _remote.is_url(place) else open(place, "rb")


def present(place: str, storage: dict[str, Any]) -> bool:
    """Whether there is a file at a path or URL."""
    return _remote.exists(place, storage) if _remote.is_url(place) else os.path.isfile(place)


def shards(path: str, storage: dict[str, Any]) -> list[Shard]:
    """The shards that `dataset.path` means, in order.

    Raises:
        ParamsError: when there are none, one is named twice, or a local one is missing.
    """
    places = _places(path, storage)
    if not places:
        raise ParamsError(f"dataset.path: {path!r} holds no .tar shard; give a folder of them")
    twice = next((place for place, count in Counter(places).items() if count > 1), None)
    if twice:
        raise ParamsError(f"dataset.path: {twice!r} is named twice; name each shard once")
    return [Shard(place, name, storage) for place, name in zip(places, _names(places), strict=True)]


def classes_file(path: str, found: list[Shard]) -> str | None:
    """Where classes.json lies: in the folder that was given, beside the first shard, or above its folder shards/."""
    parent = posixpath.dirname(_path(found[0].place))
    above = posixpath.dirname(parent) if posixpath.basename(parent) == "shards" else parent
    candidates = [_renamed(found[0].place, posixpath.join(folder, "classes.json")) for folder in (parent, above)]
    return next((place for place in candidates if present(place, found[0].storage)), None)


def _names(places: list[str]) -> list[str]:
    """What keys begin with: the file's name without .tar, and as much of its folders as makes all differ."""
    paths = [os.path.splitext(_path(place))[0] for place in places]
    short = [posixpath.basename(path) for path in paths]
    if len(set(short)) == len(short):
        return [text(name) for name in short]
    whole = [f"{urlsplit(place).netloc}{path}" if _remote.is_url(place) else path for place, path in zip(places, paths, strict=True)]
    root = posixpath.commonpath(whole)
    return [text(posixpath.relpath(path, root) if root else path) for path in whole]


def _places(path: str, storage: dict[str, Any]) -> list[str]:
    path = path if _remote.is_url(path) else os.path.expanduser(path)
    if path.endswith(".txt") and present(path, storage):
        return [place for line in _lines(path, storage) for place in _expanded(line, storage)]
    return _expanded(path, storage)


def _lines(path: str, storage: dict[str, Any]) -> list[str]:
    try:
        with opened(path, storage) as file:
            listed = file.read(LIST_BYTES).decode("utf-8")
    except (OSError, ValueError, _remote.Unreachable) as error:
        raise ParamsError(f"dataset.path: {path!r} cannot be read ({type(error).__name__}); a text file of shards is wanted") from None
    lines = [line.strip() for line in listed.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    here = _renamed(path, posixpath.dirname(_path(path)))
    return [line if _remote.is_url(line) or os.path.isabs(line) else posixpath.join(here, line) for line in lines]


def _expanded(path: str, storage: dict[str, Any]) -> list[str]:
    if "{" not in path or (not _remote.is_url(path) and os.path.exists(path)):
        return _listed(path, storage)
    with contextlib.suppress(braceexpand.UnbalancedBracesError):  # type: ignore[attr-defined]
        found = list(islice(braceexpand.braceexpand(path), MOST + 1))
        if len(found) > MOST:
            raise ParamsError(f"dataset.path: {path!r} means more than {MOST:,} shards; give fewer")
        return [place for name in found for place in _listed(name, storage)]
    raise ParamsError(f"dataset.path: {path!r} has a brace that is not closed; write shards-{{000000..000009}}.tar")


def _listed(path: str, storage: dict[str, Any]) -> list[str]:
    if _remote.is_url(path):
        return [path] if _path(path).endswith(".tar") else _behind(path, storage)
    root = Path(path).expanduser()
    if root.is_file():
        return [str(root)]
    if not root.is_dir():
        raise ParamsError(f"dataset.path: {path!r} is not there, so it holds no .tar shard; give a folder of them")
    return [str(shard) for shard in sorted(root.glob("*.tar")) or sorted(root.glob("shards/*.tar"))]


def _behind(url: str, storage: dict[str, Any]) -> list[str]:
    why = ""
    for folder in (url, url.rstrip("/") + "/shards"):
        try:
            found = [name for name in _remote.names(folder, storage) if _path(name).endswith(".tar")]
        except _remote.Unreachable as error:
            why = why or f" ({error})"
            continue
        if found:
            return found
    raise ParamsError(f"dataset.path: {url!r} lists no .tar shard{why}; give a folder that can be listed, or name them: a-{{0..9}}.tar")


def _path(place: str) -> str:
    return urlsplit(place).path if _remote.is_url(place) else place


def _renamed(place: str, path: str) -> str:
    """The same place with another path; a URL keeps its host and query."""
    return urlunsplit(urlsplit(place)._replace(path=path)) if _remote.is_url(place) else path


def text(name: str) -> str:
    """A name as text that every table can hold, whatever its bytes are."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")
