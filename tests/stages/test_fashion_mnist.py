import gzip
import hashlib
import io
import logging
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.params import Dataset, ParamsError
from stages.sources import fashion_mnist

REAL = [fashion_mnist.CACHE, fashion_mnist.INSTALLED]


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """No cache, no installed package, no mirror and no apt."""

    def fail():
        raise OSError("unreachable here")

    monkeypatch.setattr(fashion_mnist, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(fashion_mnist, "INSTALLED", tmp_path / "installed")
    monkeypatch.setattr(fashion_mnist, "_from_mirrors", fail)
    monkeypatch.setattr(fashion_mnist, "_from_apt", fail)
    return tmp_path


@pytest.fixture
def tiny(monkeypatch):
    """Four small idx files, with their own pins: idx format, LeCun, Cortes, Burges, "The MNIST database"."""
    made = {}
    for stem, count in (("train", 12), ("t10k", 5)):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        header = np.array([2051, count, 28, 28], ">u4").tobytes()
        made[f"{stem}-images-idx3-ubyte"] = header + pixels.tobytes()
        made[f"{stem}-labels-idx1-ubyte"] = np.array([2049, count], ">u4").tobytes() + bytes(range(10)) * 2
        made[f"{stem}-labels-idx1-ubyte"] = made[f"{stem}-labels-idx1-ubyte"][: 8 + count]
    pins = {name: fashion_mnist.Pins(hashlib.sha256(data).hexdigest(), ("p", "q")) for name, data in made.items()}
    monkeypatch.setattr(fashion_mnist, "FILES", pins)
    return made


def place(folder_, made, packed=True):
    folder_.mkdir(parents=True)
    for name, data in made.items():
        (folder_ / (f"{name}.gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return Dataset(source="fashion_mnist", path=str(folder_))


@pytest.mark.parametrize("packed", [True, False])
def test_idx_files_are_read(nowhere, tiny, packed):
    examples = list(fashion_mnist.read(place(nowhere / "given", tiny, packed)))
    assert [e.key for e in examples] == [f"train-{i:05d}" for i in range(12)] + [f"test-{i:05d}" for i in range(5)]
    assert [e.label for e in examples[:12]] == [*range(10), 0, 1]
    third = np.asarray(Image.open(io.BytesIO(examples[2].image)))
    assert third.tobytes() == tiny["train-images-idx3-ubyte"][16 + 2 * 784 : 16 + 3 * 784]
    assert examples[9].caption == "a photo of an ankle boot"


def test_limit_spares_encoding_what_ingest_would_throw_away(nowhere, tiny):
    config = place(nowhere / "given", tiny)
    config.limit = 3
    assert Counter(e.split for e in fashion_mnist.read(config)) == {"train": 3, "test": 3}


def test_an_altered_file_is_refused_with_both_hashes(nowhere, tiny):
    config = place(nowhere / "given", tiny, packed=False)
    path = nowhere / "given" / "train-images-idx3-ubyte"
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte: truncated or altered") as caught:
        list(fashion_mnist.read(config))
    assert hashlib.sha256(data).hexdigest() in str(caught.value)
    assert fashion_mnist.FILES["train-images-idx3-ubyte"].unpacked in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_gz_is_refused_with_its_hash_and_those_of_the_whole(nowhere, tiny):
    config = place(nowhere / "given", tiny)
    path = nowhere / "given" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"ubyte.gz: truncated or altered: SHA-256 is {found}, expected p or q"):
        list(fashion_mnist.read(config))


def test_a_given_path_is_the_only_place(nowhere, tiny, monkeypatch):
    place(nowhere / "cache", tiny)
    (nowhere / "given").mkdir()
    config = Dataset(source="fashion_mnist", path=str(nowhere / "given"))
    with pytest.raises(ParamsError, match=r"has no train-images-idx3-ubyte\[\.gz\]"):
        list(fashion_mnist.read(config))


def test_places_are_tried_in_order(nowhere, tiny, monkeypatch, caplog):
    config = Dataset(source="fashion_mnist")
    monkeypatch.setattr(fashion_mnist, "_from_apt", lambda: place(nowhere / "cache", tiny))
    with caplog.at_level(logging.WARNING):
        assert fashion_mnist.locate(config) == nowhere / "cache"
    assert [r.getMessage() for r in caplog.records] == ["fashion_mnist: unreachable here"]
    monkeypatch.setattr(fashion_mnist, "_from_apt", lambda: pytest.fail("the cache is enough"))
    assert fashion_mnist.locate(config) == nowhere / "cache"
    (nowhere / "cache").rename(nowhere / "installed")
    assert fashion_mnist.locate(config) == nowhere / "installed"


def test_nowhere_at_all_says_what_to_run(nowhere):
    with pytest.raises(ValueError, match=r"sudo apt-get update` and try again, or set dataset.path") as caught:
        list(fashion_mnist.read(Dataset(source="fashion_mnist")))
    assert "\n" not in str(caught.value)


def test_mirrors_are_torchvisions_and_half_a_download_is_never_cached(tmp_path, tiny, monkeypatch):
    import torchvision

    monkeypatch.setattr(fashion_mnist, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["one/", "two/"])
    asked = []

    def download(mirror, file):
        asked.append(mirror + file)
        packed = gzip.compress(tiny[file.removesuffix(".gz")])
        return packed[:50] if mirror == "one/" else packed

    monkeypatch.setattr(fashion_mnist, "_download", download)
    fashion_mnist._from_mirrors()
    assert asked[0] == "one/train-images-idx3-ubyte.gz"
    assert asked[1:] == [f"two/{name}.gz" for name in tiny]
    assert sorted(p.name for p in (tmp_path / "cache").iterdir()) == sorted(f"{name}.gz" for name in tiny)


def test_apt_without_lists_is_one_line(monkeypatch):
    def run(command, **options):
        return subprocess.CompletedProcess(command, 100, "", "W: a warning\nE: Unable to locate package x\n")

    monkeypatch.setattr(fashion_mnist.subprocess, "run", run)
    monkeypatch.setattr(fashion_mnist.shutil, "which", lambda tool: f"/usr/bin/{tool}")
    with pytest.raises(ValueError, match="apt-get download dataset-fashion-mnist: E: Unable to locate package x"):
        fashion_mnist._from_apt()


def test_pins_agree_with_torchvisions_file_names():
    from torchvision.datasets import FashionMNIST

    assert [f"{name}.gz" for name in fashion_mnist.FILES] == [name for name, _ in FashionMNIST.resources]
    assert fashion_mnist.classes(Dataset()) == FashionMNIST.classes


@pytest.mark.slow
def test_the_real_files_where_they_are_at_hand():
    at_hand = [p for p in REAL if (Path(p) / "train-images-idx3-ubyte.gz").is_file()]
    if not at_hand:
        pytest.skip("the real Fashion-MNIST is not on this machine")
    examples = list(fashion_mnist.read(Dataset(source="fashion_mnist", path=str(at_hand[0]))))
    # Xiao et al. 2017, section 2: 6,000 train and 1,000 test images for each of the ten classes
    assert Counter((e.split, e.label) for e in examples) == {
        **{("train", label): 6000 for label in range(10)},
        **{("test", label): 1000 for label in range(10)},
    }
