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

from winnow.config.errors import ParamsError
from winnow.sources.formats import files, names, remote

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
        """The tar, for reading; raises as `opened`."""
        return opened(self.place, self.storage)

    def beside(self, ending: str) -> "Shard | None":
        """The file of the same name with this ending instead of .tar, if there is one."""
        path = os.path.splitext(_path(self.place))[0] + ending
        other = Shard(_renamed(self.place, path), self.name, self.storage)
        return other if present(other.place, self.storage) else None


def opened(place: str, storage: dict[str, Any]) -> BinaryIO:
    """A file at a path or URL, for reading.

    Raises:
        OSError: if a local file cannot be opened; NotAFile if it is no regular file.
    """
    return cast(BinaryIO, remote.Remote(place, storage)) if remote.is_url(place) else files.opened(place)


def present(place: str, storage: dict[str, Any]) -> bool:
    """Whether there is a file at a path or URL."""
    return remote.exists(place, storage) if remote.is_url(place) else os.path.isfile(place)


def shards(path: str, storage: dict[str, Any]) -> list[Shard]:
    """The shards that `dataset.path` means, in order.

    Raises:
        ParamsError: if there are none, one is named twice, or a local one is missing.
    """
    places = _places(path, storage)
    if not places:
        raise ParamsError(f"dataset.path: {path!r} holds no .tar shard; give a folder of them")
    twice = next((place for place, count in Counter(places).items() if count > 1), None)
    if twice:
        raise ParamsError(f"dataset.path: {twice!r} is named twice; name each shard once")
    return [Shard(place, name, storage) for place, name in zip(places, _names(places), strict=True)]


def classes_file(found: list[Shard]) -> str | None:
    """The place of classes.json: beside the first shard, or above its folder if that is called shards."""
    parent = posixpath.dirname(_path(found[0].place))
    above = posixpath.dirname(parent) if posixpath.basename(parent) == "shards" else parent
    places = [_renamed(found[0].place, posixpath.join(folder, "classes.json")) for folder in (parent, above)]
    return next((place for place in places if present(place, found[0].storage)), None)


def _names(places: list[str]) -> list[str]:
    """What keys begin with: the file's name without .tar, and as many of its folders as make all differ."""
    paths = [os.path.splitext(_path(place))[0] for place in places]
    short = [posixpath.basename(path) for path in paths]
    if len(set(short)) == len(short):
        return [names.text(name) for name in short]
    whole = [
        f"{urlsplit(place).netloc}{path}" if remote.is_url(place) else path
        for place, path in zip(places, paths, strict=True)
    ]
    root = posixpath.commonpath(whole)
    return [names.text(posixpath.relpath(path, root) if root else path) for path in whole]


def _places(path: str, storage: dict[str, Any]) -> list[str]:
    path = path if remote.is_url(path) else os.path.expanduser(path)
    if path.endswith(".txt") and present(path, storage):
        return [place for line in _lines(path, storage) for place in _expanded(line, storage)]
    return _expanded(path, storage)


def _lines(path: str, storage: dict[str, Any]) -> list[str]:
    try:
        with opened(path, storage) as file:
            listed = file.read(LIST_BYTES).decode("utf-8")
    except (OSError, ValueError, remote.Unreachable) as error:
        why = f"cannot be read ({type(error).__name__}); it must be a text file of shards"
        raise ParamsError(f"dataset.path: {path!r} {why}") from None
    lines = [line.strip() for line in listed.splitlines()]
    here = _renamed(path, posixpath.dirname(_path(path)))
    return [
        line if remote.is_url(line) or os.path.isabs(line) else posixpath.join(here, line)
        for line in lines
        if line and not line.startswith("#")
    ]


def _expanded(path: str, storage: dict[str, Any]) -> list[str]:
    if "{" not in path or (not remote.is_url(path) and os.path.exists(path)):
        return _listed(path, storage)
    with contextlib.suppress(braceexpand.UnbalancedBracesError):  # type: ignore[attr-defined]
        found = list(islice(braceexpand.braceexpand(path), MOST + 1))
        if len(found) > MOST:
            raise ParamsError(f"dataset.path: {path!r} means more than {MOST:,} shards; give fewer")
        return [place for name in found for place in _listed(name, storage)]
    why = "has a brace that is not closed; write shards-{000000..000009}.tar"
    raise ParamsError(f"dataset.path: {path!r} {why}")


def _listed(path: str, storage: dict[str, Any]) -> list[str]:
    if remote.is_url(path):
        return [path] if _path(path).endswith(".tar") else _behind(path, storage)
    root = Path(path).expanduser()
    if root.is_file():
        return [str(root)]
    if not root.is_dir():
        why = "is not there, so it holds no .tar shard; give a folder of them"
        raise ParamsError(f"dataset.path: {path!r} {why}")
    return [str(shard) for shard in sorted(root.glob("*.tar")) or sorted(root.glob("shards/*.tar"))]


def _behind(url: str, storage: dict[str, Any]) -> list[str]:
    why = ""
    for folder in (url, url.rstrip("/") + "/shards"):
        try:
            found = [name for name in remote.names(folder, storage) if _path(name).endswith(".tar")]
        except remote.Unreachable as error:
            why = why or f" ({error})"
            continue
        if found:
            return found
    mend = "give a folder that can be listed, or name them: a-{0..9}.tar"
    raise ParamsError(f"dataset.path: {url!r} lists no .tar shard{why}; {mend}")


def _path(place: str) -> str:
    return urlsplit(place).path if remote.is_url(place) else place


def _renamed(place: str, path: str) -> str:
    """The same place with another path; a URL keeps its host and query."""
    return urlunsplit(urlsplit(place)._replace(path=path)) if remote.is_url(place) else path
