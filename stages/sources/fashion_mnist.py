"""Fashion-MNIST: 70,000 product photographs, 28 x 28 grey, 10 classes; 60,000 train, 10,000 test.

From: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms",
2017, arXiv 1708.07747. Licence: MIT, (c) 2017 Zalando SE. Class names are those of the dataset's README. Checksum:
SHA-256 of the four idx files, unpacked, in `FILES`, whoever packed them; a file that differs is refused. They were
computed from the Debian package 0.0~git20200523 (md5-equal to torchvision's once packed with upstream's gzip header).

Looked for in this order: `dataset.path` alone, where it is given (.gz or unpacked); the cache
.winnow/downloads/fashion_mnist; the installed package `dataset-fashion-mnist`; torchvision's own mirrors; that
package through `apt-get download`, unpacked without installing it. What was fetched is checked, then cached by a
rename, so that the cache never holds half a file.
"""

import hashlib
import logging
import shutil
import subprocess
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from stages.data.images import to_png
from stages.params import ROOT, Dataset, ParamsError
from stages.sources import Example

log = logging.getLogger(__name__)

CACHE = ROOT / ".winnow" / "downloads" / "fashion_mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
PACKAGE = "dataset-fashion-mnist"
MIRROR_SECONDS = 10
APT_SECONDS = 300
LARGEST_BYTES = 100_000_000
NAMES = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
NOUNS = (
    "a t-shirt or top", "a pair of trousers", "a pullover", "a dress", "a coat",
    "a sandal", "a shirt", "a sneaker", "a bag", "an ankle boot",
)  # fmt: skip


@dataclass(frozen=True)
class Pins:
    """SHA-256 of one idx file: unpacked, and as the .gz of the Debian package and of the dataset's authors."""

    unpacked: str
    packed: tuple[str, str]


FILES = {
    "train-images-idx3-ubyte": Pins(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        (
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        ),
    ),
    "train-labels-idx1-ubyte": Pins(
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        (
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        ),
    ),
    "t10k-images-idx3-ubyte": Pins(
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        (
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        ),
    ),
    "t10k-labels-idx1-ubyte": Pins(
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        (
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
    ),
}


def classes(config: Dataset) -> list[str]:
    """The ten names of the dataset's README."""
    return list(NAMES)


def captions(config: Dataset) -> list[str]:
    """The caption that each class's images have."""
    return [f"a photo of {noun}" for noun in NOUNS]


def read(config: Dataset) -> Iterator[Example]:
    """Yield the train split, then the test split, in the files' order; keys `train-00000`, `test-00000`, ...

    Only the first `config.limit` of each split are encoded: ingest would throw the others away.

    Raises:
        ValueError: when the files are nowhere to be had, or one differs from its checksum.
    """
    folder = locate(config)
    texts = captions(config)
    for split, stem in (("train", "train"), ("test", "t10k")):
        pixels = np.frombuffer(unpacked(folder, f"{stem}-images-idx3-ubyte"), np.uint8, offset=16).reshape(-1, 28, 28)
        labels = np.frombuffer(unpacked(folder, f"{stem}-labels-idx1-ubyte"), np.uint8, offset=8)
        for i, label in enumerate(labels[: config.limit].tolist()):
            yield Example(f"{split}-{i:05d}", to_png(Image.fromarray(pixels[i])), split, label, texts[label])


def locate(config: Dataset) -> Path:
    """The folder with the four files, fetched into the cache where it must be.

    Raises:
        ValueError: in one line, with every way that was tried and what to run.
    """
    if config.path is not None:
        folder = Path(config.path).expanduser()
        missing = [name for name in FILES if _file(folder, name) is None]
        if missing:
            wanted = ", ".join(FILES)
            raise ParamsError(f"dataset.path: {config.path!r} has no {missing[0]}[.gz]; a folder needs all of: {wanted}")
        return folder
    for folder in (CACHE, INSTALLED):
        if all(_file(folder, name) for name in FILES):
            return folder
    tried = []
    for fetch in (_from_mirrors, _from_apt):
        try:
            fetch()
            return CACHE
        except (ValueError, OSError) as error:
            tried.append(" ".join(str(error).split()))
            log.warning("fashion_mnist: %s", tried[-1])
    raise ValueError(
        f"dataset.source: fashion_mnist could not be fetched ({'; '.join(tried)}). Run `sudo apt-get update` and try "
        "again, or set dataset.path to a folder with its four idx files"
    )


def unpacked(folder: Path, name: str) -> bytes:
    """The checked content of one idx file.

    Raises:
        ValueError: naming the file, its SHA-256 and the one that is expected.
    """
    path = _file(folder, name)
    if path is None:
        raise ValueError(f"{folder / name}: no such file, nor with .gz")
    return _checked(path.read_bytes(), name, str(path))


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _checked(raw: bytes, name: str, where: str) -> bytes:
    pins = FILES[name]
    content, expected = raw, pins.unpacked
    if where.endswith(".gz"):
        content = _unzipped(raw)
        if not content:
            content, expected = raw, " or ".join(pins.packed)
    found = hashlib.sha256(content).hexdigest()
    if found != pins.unpacked:
        raise ValueError(f"{where}: truncated or altered: SHA-256 is {found}, expected {expected}; replace or delete it")
    return content


def _unzipped(raw: bytes) -> bytes:
    """The content, empty where the .gz is damaged or cut; bounded, because a mirror may send anything."""
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(raw, LARGEST_BYTES)
    except zlib.error:
        return b""
    return content if reader.eof else b""


def _cache(get: Callable[[str], bytes]) -> None:
    """Check and keep the four .gz files; each is whole under its own name, or not there."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        raw = get(f"{name}.gz")
        _checked(raw, name, f"{name}.gz")
        unfinished = CACHE / f"{name}.gz.partial"
        unfinished.write_bytes(raw)
        unfinished.replace(CACHE / f"{name}.gz")


def _from_mirrors() -> None:
    from torchvision.datasets import FashionMNIST  # 3 s, and only when nothing is on this machine yet

    problems = []
    for mirror in FashionMNIST.mirrors:
        try:
            return _cache(partial(_download, mirror))
        except (ValueError, OSError) as error:
            problems.append(str(error))
    raise ValueError(f"torchvision's mirrors: {'; '.join(problems)}")


def _download(mirror: str, file: str) -> bytes:
    with urllib.request.urlopen(mirror + file, timeout=MIRROR_SECONDS) as answer:
        return answer.read(LARGEST_BYTES)


def _from_apt() -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ValueError(f"Debian package {PACKAGE}: this machine has no {tool}")
    with tempfile.TemporaryDirectory(prefix="winnow-") as name:
        place = Path(name)
        _run(["apt-get", "download", PACKAGE], place)
        packages = sorted(path.name for path in place.glob("*.deb"))
        if not packages:
            raise ValueError(f"apt-get download {PACKAGE}: left no .deb")
        _run(["dpkg-deb", "-x", packages[0], "x"], place)
        _cache(lambda file: (place / "x" / INSTALLED.relative_to("/") / file).read_bytes())


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder; its last words become the error."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=APT_SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{' '.join(command)}: no answer within {APT_SECONDS} s") from None
    if done.returncode:
        words = done.stderr.strip().splitlines()
        raise ValueError(f"{' '.join(command)}: {words[-1] if words else f'exit code {done.returncode}'}")
