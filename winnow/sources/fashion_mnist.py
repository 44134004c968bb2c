"""Fashion-MNIST: 70,000 product photographs, 28 x 28 grey, 10 classes; 60,000 train, 10,000 test.

From: Xiao, Rasul, Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
Algorithms", 2017, arXiv 1708.07747. Licence: MIT, (c) 2017 Zalando SE. Class names are those of the dataset's
README. Checksum: SHA-256 of the four idx files, unpacked, in `FILES`, whoever packed them; a file that
differs is refused. They were computed from the Debian package 0.0~git20200523 (md5-equal to torchvision's
once packed with upstream's gzip header).

The files are taken from the first of these that has them: `dataset.path`, and nothing else where it is given
(.gz or unpacked); .winnow/downloads/fashion_mnist; the installed package `dataset-fashion-mnist`;
torchvision's own mirrors; that package by `apt-get download`, unpacked without installing it. A downloaded
file is checked, then renamed into .winnow/downloads, which so never holds half a file.
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

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Example
from winnow.pipeline.files import replacing
from winnow.pipeline.workspace import Workspace
from winnow.pool.images import to_png

log = logging.getLogger(__name__)

INSTALLED = Path("/usr/share/datasets/fashion-mnist")
PACKAGE = "dataset-fashion-mnist"
MIRROR_SECONDS = 10
APT_SECONDS = 300
LARGEST_BYTES = 100_000_000
NOUNS = {  # class -> its words in a caption
    "T-shirt/top": "a t-shirt or top",
    "Trouser": "a pair of trousers",
    "Pullover": "a pullover",
    "Dress": "a dress",
    "Coat": "a coat",
    "Sandal": "a sandal",
    "Shirt": "a shirt",
    "Sneaker": "a sneaker",
    "Bag": "a bag",
    "Ankle boot": "an ankle boot",
}


@dataclass(frozen=True)
class Pins:
    """SHA-256 of one idx file: unpacked, and as .gz of the Debian package and of the dataset's authors."""

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
    return list(NOUNS)


def captions(config: Dataset) -> list[str]:
    """The caption that each class's images have."""
    return [f"a photo of {noun}" for noun in NOUNS.values()]


def read(config: Dataset) -> Iterator[Example]:
    """Yield the train split, then the test split, in the files' order; keys `train-00000`, `test-00000`, ...

    Only the first `config.limit` of each split are encoded: ingest would discard the others.

    Raises:
        ValueError: if the files cannot be had, or one differs from its checksum.
    """
    folder = locate(config)
    texts = captions(config)
    for split, stem in (("train", "train"), ("test", "t10k")):
        pixels = np.frombuffer(unpacked(folder, f"{stem}-images-idx3-ubyte"), np.uint8, offset=16)
        pixels = pixels.reshape(-1, 28, 28)
        labels = np.frombuffer(unpacked(folder, f"{stem}-labels-idx1-ubyte"), np.uint8, offset=8)
        for i, label in enumerate(labels[: config.limit].tolist()):
            yield Example(f"{split}-{i:05d}", to_png(Image.fromarray(pixels[i])), split, label, texts[label])


def locate(config: Dataset) -> Path:
    """The folder with the four files, downloaded if they are not on this machine.

    Raises:
        ValueError: in one line, with every way that was tried and what to run.
    """
    if config.path is not None:
        folder = Path(config.path).expanduser()
        missing = [name for name in FILES if _file(folder, name) is None]
        if missing:
            needs = f"has no {missing[0]}[.gz]; a folder needs all of: {', '.join(FILES)}"
            raise ParamsError(f"dataset.path: {config.path!r} {needs}")
        return folder
    for folder in (_downloads(), INSTALLED):
        if all(_file(folder, name) for name in FILES):
            return folder
    tried = []
    for fetch in (_from_mirrors, _from_apt):
        try:
            fetch()
            return _downloads()
        except (ValueError, OSError) as error:
            tried.append(" ".join(str(error).split()))
            log.warning("fashion_mnist: %s", tried[-1])
    mend = "Run `sudo apt-get update` and try again, or set dataset.path to a folder with its four idx files"
    raise ValueError(f"dataset.source: fashion_mnist could not be fetched ({'; '.join(tried)}). {mend}")


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
        raise ValueError(
            f"{where}: truncated or altered: SHA-256 is {found}, expected {expected}; replace or delete it"
        )
    return content


def _unzipped(raw: bytes) -> bytes:
    """The content, empty if the .gz is damaged or cut; bounded, because a mirror may send anything."""
    reader = zlib.decompressobj(wbits=31)
    try:
        content = reader.decompress(raw, LARGEST_BYTES)
    except zlib.error:
        return b""
    return content if reader.eof else b""


def _save(get: Callable[[str], bytes]) -> None:
    """Check the four .gz files that `get` returns by name, and save them among the downloads."""
    for name in FILES:
        raw = get(f"{name}.gz")
        _checked(raw, name, f"{name}.gz")
        with replacing(_downloads() / f"{name}.gz") as unfinished:
            unfinished.write_bytes(raw)


def _from_mirrors() -> None:
    from torchvision.datasets import FashionMNIST  # 3 s, and only if the files are not on this machine

    problems = []
    for mirror in FashionMNIST.mirrors:
        try:
            return _save(partial(_download, mirror))
        except (ValueError, OSError) as error:
            problems.append(str(error))
    raise ValueError(f"torchvision's mirrors: {'; '.join(problems)}")


def _download(mirror: str, file: str) -> bytes:
    with urllib.request.urlopen(mirror + file, timeout=MIRROR_SECONDS) as response:
        content: bytes = response.read(LARGEST_BYTES)
        return content


def _from_apt() -> None:
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ValueError(f"Debian package {PACKAGE}: this machine has no {tool}")
    with tempfile.TemporaryDirectory(prefix="winnow-") as name:
        folder = Path(name)
        _run(["apt-get", "download", PACKAGE], folder)
        packages = sorted(path.name for path in folder.glob("*.deb"))
        if not packages:
            raise ValueError(f"apt-get download {PACKAGE}: left no .deb")
        _run(["dpkg-deb", "-x", packages[0], "x"], folder)
        _save(lambda file: (folder / "x" / INSTALLED.relative_to("/") / file).read_bytes())


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder; the last line of its errors becomes the message."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=APT_SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{' '.join(command)}: no answer within {APT_SECONDS} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise ValueError(f"{' '.join(command)}: {lines[-1]}")


def _downloads() -> Path:
    """Where downloaded files are kept."""
    return Workspace.find().downloads / "fashion_mnist"
