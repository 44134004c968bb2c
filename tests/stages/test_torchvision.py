"""Sets of torchvision.datasets, laid out on disk as their classes want them."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from stages.params import Dataset, ParamsError
from stages.sources import torchvision as source
from stages.sources._lost import Lost


def jpeg(value):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), (value, 0, 0)).save(buffer, "JPEG")
    return buffer.getvalue()


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def config(path, **options):
    return Dataset(source="torchvision", path=str(path), options=options)


def test_food101_has_splits_and_keeps_its_bytes(tmp_path):
    root = tmp_path / "food-101"
    meta = {"train": {"apple_pie": ["apple_pie/1"], "sushi": ["sushi/2"]}, "test": {"apple_pie": [], "sushi": ["sushi/3"]}}
    for split, names in meta.items():
        put(root / "meta" / f"{split}.json", json.dumps(names).encode())
        for name in [name for group in names.values() for name in group]:
            put(root / "images" / f"{name}.jpg", jpeg(int(name[-1])))
    given = config(tmp_path, name="Food101")
    assert source.classes(given) == ["apple_pie", "sushi"]
    found = [(e.key, e.image, e.split, e.label, e.caption) for e in source.read(given)]
    assert found == [
        ("train-00000000", jpeg(1), "train", 0, "a photo of apple pie"),
        ("train-00000001", jpeg(2), "train", 1, "a photo of sushi"),
        ("test-00000000", jpeg(3), "test", 1, "a photo of sushi"),
    ]


def test_a_set_without_splits_is_divided_by_a_hash_and_a_lost_file_is_counted(tmp_path):
    for number in range(60):
        put(tmp_path / "eurosat/2750" / ("Forest" if number % 2 else "River") / f"{number:02d}.jpg", jpeg(number))
    given = config(tmp_path, name="EuroSAT")
    examples = source.read(given)
    first = next(examples)
    (tmp_path / "eurosat/2750/Forest/03.jpg").unlink()
    rest = list(examples)
    assert source.classes(given) == ["Forest", "River"]
    assert first.image == jpeg(1)
    assert {e.split for e in [first, *rest]} == {"train", "test"}
    (lost,) = [e for e in rest if isinstance(e, Lost)]
    assert lost.reason == "unreadable_FileNotFoundError"


def test_a_set_of_arrays_becomes_png(tmp_path, monkeypatch):
    """SVHN holds arrays in .mat files and knows no names; its files' checksums are pinned, so the check is left out here."""
    from scipy.io import savemat

    monkeypatch.setattr(datasets.SVHN, "_check_integrity", lambda self: True)
    for split, label in (("train", 3), ("test", 10)):  # 10 is the digit 0 there
        images = np.full((32, 32, 3, 2), label, np.uint8)
        savemat(tmp_path / f"{split}_32x32.mat", {"X": images, "y": np.array([[label], [label]])})
    given = config(tmp_path, name="SVHN")
    assert source.classes(given) == ["0", "1", "2", "3"]
    train, _, test, _ = source.read(given)
    assert np.asarray(Image.open(io.BytesIO(train.image))).tolist() == np.full((32, 32, 3), 3).tolist()
    assert (train.label, test.label, test.split) == (3, 0, "test")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "Food102"}, "dataset.options.name: 'Food102' is no class of torchvision.datasets; allowed: .*Food101"),
        (
            {"name": "CIFAR10"},
            "dataset.path: torchvision's CIFAR10 cannot open .* with {'train': True}: Dataset not found",
        ),
        ({"name": "Food101", "train": {"split": "evening"}}, "cannot open .* with {'split': 'evening'}: Unknown value 'evening'"),
        ({}, "dataset.options.*name"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, options, says):
    with pytest.raises(ParamsError, match=says) as caught:
        list(source.read(config(tmp_path, **options)))
    assert "\n" not in str(caught.value)
