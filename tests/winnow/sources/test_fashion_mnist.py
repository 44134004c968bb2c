import gzip
import hashlib
import io
import logging
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.plugins import CODE
from winnow.pipeline.workspace import Workspace
from winnow.sources import fashion_mnist

DOWNLOADS = Workspace(CODE).downloads / "fashion_mnist"
IMAGES = "train-images-idx3-ubyte"
NOWHERE = Dataset("fashion_mnist")


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """The folder of downloads in an empty workspace; no installed package, no mirror, no apt."""
    from torchvision.datasets import FashionMNIST

    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "bin").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(fashion_mnist, "INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"file://{tmp_path}/mirror/"])
    return tmp_path / ".winnow/downloads/fashion_mnist"


@pytest.fixture
def tiny(monkeypatch):
    """Four small idx files, with their own pins: idx format, LeCun, Cortes, Burges, "The MNIST database"."""
    made = {}
    for stem, count in (("train", 12), ("t10k", 5)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = np.array([2051, count, 28, 28], ">u4").tobytes()
        made[f"{stem}-images-idx3-ubyte"] = header + pixels.tobytes()
        labels = bytes(i % 10 for i in range(count))
        made[f"{stem}-labels-idx1-ubyte"] = np.array([2049, count], ">u4").tobytes() + labels
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in made.items()}
    pins = {name: fashion_mnist.Pins(one, ("p", "q")) for name, one in hashes.items()}
    monkeypatch.setattr(fashion_mnist, "FILES", pins)
    return made


def place(folder, made, packed=True):
    """Write the four files into a folder; the dataset of this path."""
    folder.mkdir(parents=True)
    for name, data in made.items():
        (folder / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return Dataset("fashion_mnist", path=str(folder))


def tool(folder, name, *lines):
    """A shell script in the place of a program."""
    (folder / name).write_text("\n".join(["#!/bin/sh", "PATH=/usr/bin:/bin", *lines]))
    (folder / name).chmod(0o755)


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read(tmp_path, tiny, packed):
    examples = list(fashion_mnist.read(place(tmp_path / "given", tiny, packed)))
    keys = [f"train-{i:05d}" for i in range(12)] + [f"test-{i:05d}" for i in range(5)]
    assert [example.key for example in examples] == keys
    assert [example.label for example in examples[:12]] == [*range(10), 0, 1]
    third = np.asarray(Image.open(io.BytesIO(examples[2].image)))
    assert third.tobytes() == tiny[IMAGES][16 + 2 * 784 : 16 + 3 * 784]
    assert examples[9].caption == "a photo of an ankle boot"


def test_limit_spares_encoding_what_ingest_would_discard(tmp_path, tiny):
    config = place(tmp_path / "given", tiny)
    config.limit = 3
    splits = Counter(example.split for example in fashion_mnist.read(config))
    assert splits == {"train": 3, "test": 3}


def test_an_altered_file_is_refused_with_both_hashes(tmp_path, tiny):
    config = place(tmp_path / "given", tiny, packed=False)
    path = tmp_path / "given" / IMAGES
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=f"{IMAGES}: truncated or altered") as caught:
        list(fashion_mnist.read(config))
    assert hashlib.sha256(data).hexdigest() in str(caught.value)
    assert fashion_mnist.FILES[IMAGES].unpacked in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_gz_is_refused_with_its_hash_and_those_expected(tmp_path, tiny):
    config = place(tmp_path / "given", tiny)
    path = tmp_path / "given" / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    says = f"ubyte.gz: truncated or altered: SHA-256 is {found}, expected p or q"
    with pytest.raises(ValueError, match=says):
        list(fashion_mnist.read(config))


def test_nothing_but_a_given_path_is_used(downloads, tiny, tmp_path):
    place(downloads, tiny)
    (tmp_path / "given").mkdir()
    with pytest.raises(ParamsError, match=r"has no train-images-idx3-ubyte\[\.gz\]"):
        list(fashion_mnist.read(Dataset("fashion_mnist", path=str(tmp_path / "given"))))


def test_downloads_then_the_package_then_mirrors_then_apt(downloads, tiny, tmp_path, caplog):
    place(tmp_path / "package", tiny)
    installed = tmp_path / "installed"
    tool(tmp_path / "bin", "apt-get", "touch dataset.deb")
    tool(tmp_path / "bin", "dpkg-deb", f"mkdir -p x{tmp_path}", f"cp -r {tmp_path}/package x{installed}")
    with caplog.at_level(logging.WARNING):
        assert fashion_mnist.locate(NOWHERE) == downloads
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith("fashion_mnist: torchvision's mirrors: ")
    tool(tmp_path / "bin", "apt-get", "exit 1")
    assert fashion_mnist.locate(NOWHERE) == downloads
    downloads.rename(installed)
    assert fashion_mnist.locate(NOWHERE) == installed


def test_without_any_of_them_one_line_says_what_to_run(downloads):
    says = r"sudo apt-get update` and try again, or set dataset.path"
    with pytest.raises(ValueError, match=says) as caught:
        list(fashion_mnist.read(NOWHERE))
    assert "this machine has no apt-get" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_next_mirror_is_tried_and_half_a_download_is_never_kept(downloads, tiny, tmp_path, monkeypatch):
    from torchvision.datasets import FashionMNIST

    for mirror in ("one", "two"):
        place(tmp_path / mirror, tiny)
    half = tmp_path / "one" / f"{IMAGES}.gz"
    half.write_bytes(half.read_bytes()[:50])
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"file://{tmp_path}/one/"])
    with pytest.raises(ValueError, match=f"torchvision's mirrors: {IMAGES}.gz: truncated or altered"):
        fashion_mnist.locate(NOWHERE)
    assert not downloads.exists()
    monkeypatch.setattr(FashionMNIST, "mirrors", [f"file://{tmp_path}/{name}/" for name in ("one", "two")])
    assert fashion_mnist.locate(NOWHERE) == downloads
    assert sorted(path.name for path in downloads.iterdir()) == sorted(f"{name}.gz" for name in tiny)


def test_apt_without_lists_is_one_line(downloads, tmp_path):
    tool(tmp_path / "bin", "apt-get", "echo 'W: a warning\nE: Unable to locate package x' >&2", "exit 100")
    tool(tmp_path / "bin", "dpkg-deb", "exit 1")
    says = "apt-get download dataset-fashion-mnist: E: Unable to locate package x"
    with pytest.raises(ValueError, match=says):
        fashion_mnist.locate(NOWHERE)


def test_pins_agree_with_torchvisions_file_names():
    from torchvision.datasets import FashionMNIST

    assert [f"{name}.gz" for name in fashion_mnist.FILES] == [name for name, _ in FashionMNIST.resources]
    assert fashion_mnist.classes(Dataset()) == FashionMNIST.classes


@pytest.mark.slow
def test_the_real_files_if_they_are_on_this_machine():
    folders = [path for path in (DOWNLOADS, fashion_mnist.INSTALLED) if (path / f"{IMAGES}.gz").is_file()]
    if not folders:
        pytest.skip("the real Fashion-MNIST is not on this machine")
    examples = fashion_mnist.read(Dataset("fashion_mnist", path=str(folders[0])))
    # Xiao et al. 2017, section 2: 6,000 train and 1,000 test images for each of the ten classes
    expected = {("train", label): 6000 for label in range(10)} | {
        ("test", label): 1000 for label in range(10)
    }
    assert Counter((example.split, example.label) for example in examples) == expected
