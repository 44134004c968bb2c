"""Four layouts of pictures with semantic masks, through ingest; what does not fit is one line."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.pools import ingest
from winnow.config.datasets import Dataset
from winnow.config.detect import detect
from winnow.config.errors import ParamsError
from winnow.pool.masks import VOID, Masks
from winnow.sources import segmentation_folder
from winnow.sources.formats.segmentation_layouts import CITYSCAPES, VOC_CLASSES

SIZE = (6, 4)  # width, height


def write(path, values=None):
    """A mask of one row of values, repeated; without values a random picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if values is None:
        pixels = np.random.default_rng(len(str(path)) + sum(map(ord, path.name))).integers(0, 256, (4, 6, 3))
    else:
        pixels = np.tile(np.array(values), (4, 1))
    Image.fromarray(pixels.astype(np.uint8)).save(path, "PNG")


def stored(root, **options):
    """Key of the source -> split and first row of the mask, or None; and the names of the classes."""
    counts, pool = ingest(
        root.parent / f"{root.name}-pool", Dataset("segmentation_folder", path=str(root), options=options)
    )
    masks = Masks.open(root.parent / f"{root.name}-pool")
    assert counts["masks"] == len(masks)
    keys, splits = pool.records("sources", ["source"])["source"].to_pylist(), pool.table["split"].to_pylist()
    found = {}
    for row, (key, split) in enumerate(zip(keys, splits, strict=True)):
        found[key] = split, masks.read(pool, row)[0].tolist() if row in masks.rows else None
    return found, masks.classes


def test_ade20k(tmp_path):
    root = tmp_path / "ade"
    for split in ("training", "validation"):
        write(root / "images" / split / f"{split}.jpg")
        write(root / "annotations" / split / f"{split}.png", [0, 1, 2, 150, 1, 1])
    names = "\n".join(f"{i}\t0.1\t1\t1\t0\tname {i}, other" for i in range(1, 151))
    (root / "objectInfo150.txt").write_text(f"Idx\tRatio\tTrain\tVal\tStuff\tName\n{names}\n")
    found, classes = stored(root)
    row = [VOID, 0, 1, 149, 0, 0]
    assert found == {"training/training.jpg": ("train", row), "validation/validation.jpg": ("test", row)}
    assert len(classes) == 150
    assert classes[149] == "name 150, other"
    assert detect(str(root)).source == "segmentation_folder"


@pytest.mark.parametrize(
    ("kind", "values"),
    [("labelIds", [0, 7, 8, 33, 23, 1]), ("labelTrainIds", [255, 0, 1, 18, 10, 255])],
)
def test_cityscapes(tmp_path, kind, values):
    """Both files of one picture mean the same: road, sidewalk, bicycle and sky."""
    root = tmp_path / "city"
    for split in ("train", "val"):
        write(root / "leftImg8bit" / split / "ulm" / f"ulm_{split}_leftImg8bit.png")
        write(root / "gtFine" / split / "ulm" / f"ulm_{split}_gtFine_{kind}.png", values)
        write(root / "gtFine" / split / "ulm" / f"ulm_{split}_gtFine_color.png", values)
    found, classes = stored(root)
    assert classes == list(CITYSCAPES)
    row = [VOID, 0, 1, 18, 10, VOID]
    assert list(found.values()) == [("train", row), ("test", row)]


def test_voc(tmp_path):
    root = tmp_path / "voc"
    for name in ("a", "b", "c"):
        write(root / "JPEGImages" / f"{name}.jpg")
    for name in ("a", "b"):
        write(root / "SegmentationClass" / f"{name}.png", [0, 20, 255, 0, 0, 0])
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n../../secret\n")
    (lists / "val.txt").write_text("b\n")
    found, classes = stored(root)
    assert classes == list(VOC_CLASSES)
    row = [0, 20, VOID, 0, 0, 0]
    assert found == {
        "train/a.jpg": ("train", row),
        "train/c.jpg": ("train", None),
        "val/b.jpg": ("test", row),
    }


def test_a_folder_of_pictures_beside_masks(tmp_path, caplog):
    """As shared/data/coco128/semantic: an index may be missing among the values, and 0 is not judged."""
    root = tmp_path / "own"
    for split in ("train2017", "val2017"):
        write(root / split / f"{split}.jpg")
        write(root / "semantic" / split / f"{split}.png", [0, 3, 9, 9, 9, 9])
    write(root / "semantic" / "train2017" / "alone.png", [3] * 6)
    (root / "semantic" / "classes.json").write_text(json.dumps({"0": "Unlabeled", "9": "sky", "3": "road"}))
    found, classes = stored(root)
    assert classes == ["road", "sky"]
    assert {split for split, _ in found.values()} == {"train", "test"}
    assert all(row == [VOID, 0, 1, 1, 1, 1] for _, row in found.values())
    assert "left out 1 masks without a picture" in caplog.text


def test_masks_without_splits(tmp_path):
    root = tmp_path / "plain"
    for number in range(3):
        write(root / "images" / f"{number}.jpg")
        write(root / "masks" / f"{number}.png", [0, 1, 1, 0, 0, 0])
    (root / "classes.json").write_text('["grass", "tree"]')
    found, classes = stored(root)
    assert classes == ["grass", "tree"]
    assert sorted(found) == ["0.jpg", "1.jpg", "2.jpg"]


def test_masks_that_none_can_be_used_stop_with_one_line(tmp_path):
    root = tmp_path / "bad"
    write(root / "images" / "a.jpg")
    write(root / "masks" / "a.png", [5] * 6)
    (root / "classes.json").write_text('["grass"]')
    with pytest.raises(ValueError, match=r"no mask can be used \(0 masks; dropped 1 unknown_class\)"):
        stored(root)


@pytest.mark.parametrize(
    ("classes", "says"),
    [
        (None, "has no classes.json; write one"),
        ("{", "is no list of names, and no object of value: name"),
        ('{"x": "road"}', "is no list of names, and no object of value: name"),
        ('{"0": "void"}', "0 classes in masks of values 0 to 0; allowed: 1 to 254"),
        (json.dumps([str(i) for i in range(255)]), "255 classes in masks"),
        ('{"70000": "road"}', "values 70000 to 70000"),
    ],
)
def test_classes_that_cannot_be_used_are_one_line(tmp_path, classes, says):
    write(tmp_path / "masks" / "a.png", [0] * 6)
    if classes is not None:
        (tmp_path / "classes.json").write_text(classes)
    with pytest.raises(ParamsError, match=says):
        segmentation_folder.mask_classes(Dataset("segmentation_folder", path=str(tmp_path)))


def test_a_folder_without_masks_or_of_another_layout_is_one_line(tmp_path):
    with pytest.raises(ParamsError, match="has no masks; needed is one of ade20k: annotations/training"):
        list(segmentation_folder.read(Dataset("segmentation_folder", path=str(tmp_path))))
    write(tmp_path / "masks" / "a.png", [0] * 6)
    settings = Dataset("segmentation_folder", path=str(tmp_path), options={"layout": "voc"})
    with pytest.raises(
        ParamsError, match=r"layout: 'voc': SegmentationClass/\*.png is not there; fitting: auto, folder"
    ):
        list(segmentation_folder.read(settings))
