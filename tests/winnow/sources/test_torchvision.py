"""Sets of torchvision.datasets, laid out on disk as their classes need them."""

import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from tests.pictures import plain
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Unreadable
from winnow.sources import torchvision as source


def jpeg(value):
    return plain(value, kind="JPEG", mode="RGB")


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def config(path, **options):
    return Dataset("torchvision", path=str(path), options=options)


def food101(root):
    """Three pictures of two classes, one of them in the test split."""
    root = root / "food-101"
    meta = {
        "train": {"apple_pie": ["apple_pie/1"], "sushi": ["sushi/2"]},
        "test": {"apple_pie": [], "sushi": ["sushi/3"]},
    }
    for split, names in meta.items():
        put(root / "meta" / f"{split}.json", json.dumps(names).encode())
        for name in [name for group in names.values() for name in group]:
            put(root / "images" / f"{name}.jpg", jpeg(int(name[-1])))


def test_food101_has_splits_and_keeps_its_bytes(tmp_path):
    food101(tmp_path)
    given = config(tmp_path, name="Food101")
    assert source.classes(given) == ["apple_pie", "sushi"]
    found = [(e.key, e.image, e.split, e.label, e.caption) for e in source.read(given)]
    assert found == [
        ("train-00000000", jpeg(1), "train", 0, "a photo of apple pie"),
        ("train-00000001", jpeg(2), "train", 1, "a photo of sushi"),
        ("test-00000000", jpeg(3), "test", 1, "a photo of sushi"),
    ]


@pytest.mark.timeout(60)
def test_a_fifo_is_a_dropped_example(tmp_path):
    """Mended fault: ingest waited for ever for someone to write to the FIFO."""
    food101(tmp_path)
    path = tmp_path / "food-101/images/sushi/2.jpg"
    path.unlink()
    os.mkfifo(path)
    found = [getattr(e, "reason", None) for e in source.read(config(tmp_path, name="Food101"))]
    assert found == [None, "not_a_file", None]


def test_a_set_without_splits_is_divided_by_a_hash_and_a_missing_file_is_counted(tmp_path):
    for number in range(60):
        name = "Forest" if number % 2 else "River"
        put(tmp_path / "eurosat/2750" / name / f"{number:02d}.jpg", jpeg(number))
    given = config(tmp_path, name="EuroSAT")
    examples = source.read(given)
    first = next(examples)
    (tmp_path / "eurosat/2750/Forest/03.jpg").unlink()
    rest = list(examples)
    assert source.classes(given) == ["Forest", "River"]
    assert first.image == jpeg(1)
    assert {e.split for e in [first, *rest]} == {"train", "test"}
    [missing] = [example for example in rest if isinstance(example, Unreadable)]
    assert missing.reason == "unreadable_FileNotFoundError"


def test_a_set_of_arrays_becomes_png(tmp_path, monkeypatch):
    """SVHN holds arrays in .mat files, without names; its pinned checksums are not checked here."""
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


def facts(given):
    return [(e.key, e.image, e.split, e.label) for e in source.read(given)]


def lines(path, *text):
    put(path, "".join(f"{line}\n" for line in text).encode())


def sun397(root):
    """As SUN397.tar.gz unpacks: ClassName.txt and a folder for each letter."""
    lines(root / "SUN397/ClassName.txt", "/a/abbey", "/b/bar/indoor")
    for name, value in (("b/bar/indoor/sun_b", 3), ("a/abbey/sun_z", 2), ("a/abbey/sun_a", 1)):
        put(root / f"SUN397/{name}.jpg", jpeg(value))
    return ["abbey", "bar/indoor"], {(jpeg(1), 0), (jpeg(2), 0), (jpeg(3), 1)}


def cars(root):
    """As the devkit lays it out: .mat files whose classes count from 1."""
    from scipy.io import savemat

    home = root / "stanford_cars"
    (home / "devkit").mkdir(parents=True)
    savemat(home / "devkit/cars_meta.mat", {"class_names": np.array(["Audi", "BMW"], object)})
    for split, place in (
        ("train", "devkit/cars_train_annos.mat"),
        ("test", "cars_test_annos_withlabels.mat"),
    ):
        rows = np.array([("1.jpg", 1), ("2.jpg", 2)], [("fname", object), ("class", np.uint8)])
        savemat(home / place, {"annotations": rows})
        for number in (1, 2):
            put(home / f"cars_{split}/{number}.jpg", jpeg(number + 10 * (split == "test")))
    return ["Audi", "BMW"], {(jpeg(1), 0), (jpeg(2), 1), (jpeg(11), 0), (jpeg(12), 1)}


def dtd(root):
    home = root / "dtd/dtd"
    for split, value in (("train", 1), ("test", 2)):
        lines(home / f"labels/{split}1.txt", f"banded/{value}.jpg", f"woven/{value}.jpg")
        for number, name in enumerate(("banded", "woven")):
            put(home / f"images/{name}/{value}.jpg", jpeg(value + 10 * number))
    return ["banded", "woven"], {(jpeg(1), 0), (jpeg(11), 1), (jpeg(2), 0), (jpeg(12), 1)}


def pets(root):
    home = root / "oxford-iiit-pet"
    for split, value in (("trainval", 1), ("test", 2)):
        lines(home / f"annotations/{split}.txt", f"Abyssinian_{value} 1 1 1", f"great_dane_{value} 2 2 1")
        put(home / f"images/Abyssinian_{value}.jpg", jpeg(value))
        put(home / f"images/great_dane_{value}.jpg", jpeg(value + 10))
    return ["Abyssinian", "Great Dane"], {(jpeg(1), 0), (jpeg(11), 1), (jpeg(2), 0), (jpeg(12), 1)}


def caltech(root):
    home = root / "caltech101/101_ObjectCategories"
    (home / "BACKGROUND_Google").mkdir(parents=True)
    for number, name in enumerate(("Faces", "camera")):
        put(home / name / "image_0001.jpg", jpeg(number))
    return ["Faces", "camera"], {(jpeg(0), 0), (jpeg(1), 1)}


def aircraft(root):
    home = root / "fgvc-aircraft-2013b/data"
    lines(home / "variants.txt", "707-320", "A330-200")
    for split, value in (("train", 1), ("test", 2)):
        lines(home / f"images_variant_{split}.txt", f"{value} A330-200")
        put(home / f"images/{value}.jpg", jpeg(value))
    return ["707-320", "A330-200"], {(jpeg(1), 1), (jpeg(2), 1)}


def inaturalist(root):
    kinds = ["00000_Animalia_Chordata_Aves_Passeriformes_Corvidae_Corvus_corax", "00001_Plantae_b_c_d_e_f_g"]
    for year, value in (("2021_train", 1), ("2021_valid", 2)):
        for number, name in enumerate(kinds):
            put(root / year / name / f"{value}.jpg", jpeg(value + 10 * number))
    return kinds, {(jpeg(1), 0), (jpeg(11), 1), (jpeg(2), 0), (jpeg(12), 1)}


LAYOUTS = {"SUN397": sun397, "StanfordCars": cars, "DTD": dtd, "OxfordIIITPet": pets}
LAYOUTS |= {"Caltech101": caltech, "FGVCAircraft": aircraft, "INaturalist": inaturalist}


@pytest.mark.parametrize(("name", "lay_out"), LAYOUTS.items())
def test_sets_in_their_own_layout_keep_bytes_and_labels(tmp_path, name, lay_out):
    """The layouts are those that torchvision's classes read; names and numbers are made up."""
    classes, expected = lay_out(tmp_path)
    given = config(tmp_path, name=name)
    assert source.classes(given) == classes
    found = facts(given)
    assert {(image, label) for _, image, _, label in found} == expected
    assert len({key for key, *_ in found}) == len(found) == len(expected)


def test_the_order_does_not_depend_on_the_file_system(tmp_path, monkeypatch):
    sun397(tmp_path)
    given = config(tmp_path, name="SUN397")
    forwards = facts(given)
    rglob = type(tmp_path).rglob
    monkeypatch.setattr(type(tmp_path), "rglob", lambda self, pattern: reversed(list(rglob(self, pattern))))
    assert facts(given) == forwards
    assert [image for _, image, *_ in forwards] == [jpeg(1), jpeg(2), jpeg(3)]


def test_voc_takes_the_largest_object_that_is_not_difficult(tmp_path):
    home = tmp_path / "VOCdevkit/VOC2012"
    boxes = {
        "a": [("dog", 10, 0), ("cat", 20, 0), ("person", 90, 1)],
        "b": [("zebra", 5, 0)],
        "c": [("person", 9, 1)],
    }
    for name, objects in boxes.items():
        found = "".join(
            f"<object><name>{kind}</name><difficult>{hard}</difficult>"
            f"<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>{side}</xmax><ymax>{side}</ymax></bndbox></object>"
            for kind, side, hard in objects
        )
        put(home / f"Annotations/{name}.xml", f"<annotation>{found}</annotation>".encode())
        put(home / f"JPEGImages/{name}.jpg", jpeg(ord(name)))
    lines(home / "ImageSets/Main/train.txt", "a", "b")
    lines(home / "ImageSets/Main/val.txt", "c")
    given = config(tmp_path, name="VOCDetection")
    assert source.classes(given)[7:12] == ["cat", "chair", "cow", "diningtable", "dog"]
    cat, zebra, none = source.read(given)
    assert (cat.image, cat.label, cat.caption) == (jpeg(ord("a")), 7, "a photo of cat")
    assert zebra.reason == "label_out_of_range"
    assert (none.split, none.label, none.caption) == ("test", None, None)


def test_places_takes_val_because_its_test_has_no_labels(tmp_path, monkeypatch):
    """Its lists' checksums are pinned, so they are not checked."""
    monkeypatch.setattr(datasets.Places365, "_check_integrity", lambda self, file, md5, download: True)
    lines(tmp_path / "categories_places365.txt", "/a/abbey 0", "/b/bar 1")
    lines(tmp_path / "places365_train_standard.txt", "/a/abbey/1.jpg 0", "/b/bar/2.jpg 1")
    lines(tmp_path / "places365_val.txt", "3.jpg 1")
    lines(tmp_path / "places365_test.txt", "4.jpg", "5.jpg")
    for value, name in enumerate(
        ("data_256_standard/a/abbey/1", "data_256_standard/b/bar/2", "val_256/3"), 1
    ):
        put(tmp_path / f"{name}.jpg", jpeg(value))
    train, test = ({"split": name, "small": True} for name in ("train-standard", "val"))
    small = facts(config(tmp_path, name="Places365", train=train, test=test))
    expected = [(jpeg(1), "train", 0), (jpeg(2), "train", 1), (jpeg(3), "test", 1)]
    assert [row[1:] for row in small] == expected
    large = facts(config(tmp_path, name="Places365"))  # whose files are not here: only the splits are tested
    assert [key for key, *_ in large] == ["train-00000000", "train-00000001", "test-00000000"]


def test_a_set_without_classes_is_refused_in_one_line(tmp_path):
    home = tmp_path / "VOCdevkit/VOC2012"
    lines(home / "ImageSets/Segmentation/train.txt", "a")
    lines(home / "ImageSets/Segmentation/val.txt", "a")
    put(home / "JPEGImages/a.jpg", jpeg(1))
    put(home / "SegmentationClass/a.png", plain(0))
    says = "VOCSegmentation gives no classes but str as targets; choose a classification set"
    with pytest.raises(ParamsError, match=says):
        list(source.read(config(tmp_path, name="VOCSegmentation")))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"name": "Food102"}, "dataset.options.name: 'Food102' is no class of .*; allowed: .*Food101"),
        ({"name": "CIFAR10"}, "torchvision's CIFAR10 cannot open .* with {'train': True}: Dataset not found"),
        ({"name": "Food101", "train": {"split": "night"}}, "with {'split': 'night'}: Unknown value 'night'"),
        ({}, "dataset.options.*name"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, options, says):
    with pytest.raises(ParamsError, match=says) as caught:
        list(source.read(config(tmp_path, **options)))
    assert "\n" not in str(caught.value)
