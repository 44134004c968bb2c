import json
import os

import pytest

from tests.pictures import plain
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.sources import coco


@pytest.fixture
def annotated(pictures):
    """Three pictures, two with captions; the first also with instances, of which a crowd is the largest."""
    names = {7: "b.png", 3: "a.png", 9: "../secret.png"}
    images = [{"id": number, "file_name": name} for number, name in names.items()]
    captions = [
        {"id": 12, "image_id": 3, "caption": "later"},
        {"id": 11, "image_id": 3, "caption": " a dog\n"},
        {"id": 13, "image_id": 7, "caption": "a cat"},
    ]
    instances = [
        {"id": 1, "image_id": 3, "category_id": 18, "area": 5.0, "iscrowd": 0},
        {"id": 2, "image_id": 3, "category_id": 17, "area": 9.0, "iscrowd": 0},
        {"id": 3, "image_id": 3, "category_id": 18, "area": 99.0, "iscrowd": 1},
    ]
    (pictures / "captions.json").write_text(json.dumps({"images": images, "annotations": captions}))
    categories = [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}]
    facts = {"images": images, "annotations": instances, "categories": categories}
    (pictures / "instances.json").write_text(json.dumps(facts))
    return pictures


def of(folder, **parts):
    options = {name: {"annotations": file, "images": "pictures"} for name, file in parts.items()}
    return Dataset("coco", path=str(folder), options=options)


def test_coco_captions(annotated):
    config = of(annotated, train="captions.json", test="captions.json")
    found = {e.key: e for e in coco.read(config)}
    names = ("a.png", "b.png", "../secret.png")
    assert list(found) == [f"{split}/{name}" for split in ("train", "test") for name in names]
    assert (found["train/a.png"].image, found["train/a.png"].caption) == (plain(1), "a dog")
    last = found["test/b.png"]
    assert (last.split, last.caption, last.label) == ("test", "a cat", None)
    assert found["train/../secret.png"].reason == "path_outside"
    assert coco.classes(config) == []


def test_coco_instances(annotated):
    config = of(annotated, train="instances.json")
    assert coco.classes(config) == ["cat", "dog"]
    labels = {e.key: e.label for e in coco.read(config)}
    assert labels["train/a.png"] == 0  # the cat is the largest that is no crowd
    assert labels["train/b.png"] is None


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "is no COCO"), ('{"images": [{"id": 1}]}', "is no COCO"), (None, "cannot be read")],
)
def test_a_wrong_json_is_one_line(annotated, text, says):
    if text:
        (annotated / "bad.json").write_text(text)
    with pytest.raises(ParamsError, match=f"dataset.options.train.annotations: 'bad.json' {says}"):
        list(coco.read(of(annotated, train="bad.json")))


@pytest.mark.timeout(60)
def test_a_fifo_is_a_dropped_example_and_no_annotations(annotated):
    """Mended fault: ingest waited for ever for someone to write to the FIFO."""
    (annotated / "pictures" / "b.png").unlink()
    os.mkfifo(annotated / "pictures" / "b.png")
    found = {example.key: example for example in coco.read(of(annotated, train="captions.json"))}
    assert found["train/b.png"].reason == "not_a_file"
    os.mkfifo(annotated / "fifo.json")
    with pytest.raises(ParamsError, match="'fifo.json' cannot be read"):
        list(coco.read(of(annotated, train="fifo.json")))


def changed(folder, name, change):
    """A copy of instances.json after `change(facts)`."""
    facts = json.loads((folder / "instances.json").read_text())
    change(facts)
    (folder / name).write_text(json.dumps(facts))


def test_instances_with_boxes_are_objects(annotated):
    def boxes(facts):
        for number, annotation in enumerate(facts["annotations"]):
            annotation["bbox"] = [number, 0, 2, 3]
        facts["annotations"][2]["segmentation"] = {"size": [8, 8], "counts": [0, 64]}
        facts["images"][1].update(width=8, height=8)

    changed(annotated, "boxes.json", boxes)
    found = {e.key: e for e in coco.read(of(annotated, train="boxes.json"))}
    one = found["train/a.png"]
    assert [(thing.category, thing.box[0], thing.crowd) for thing in one.objects] == [
        (1, 0, False),
        (0, 1, False),
        (1, 2, True),
    ]
    assert [thing.area for thing in one.objects] == [5, 9, 99]
    assert one.objects[2].segmentation == {"size": [8, 8], "counts": [0, 64]}
    assert one.annotated_size == (8, 8)
    assert found["train/b.png"].objects == ()
    assert found["train/b.png"].annotated_size is None


def test_a_json_without_boxes_is_no_annotation(annotated):
    for name in ("captions.json", "instances.json"):
        assert all(e.objects is None for e in coco.read(of(annotated, train=name)))


def test_categories_meet_by_name(annotated):
    """Mended fault: a category id of both files took the name of the second."""

    def renamed(facts):
        facts["categories"] = [{"id": 17, "name": "dog"}, {"id": 18, "name": "owl"}]

    changed(annotated, "other.json", renamed)
    config = of(annotated, train="instances.json", test="other.json")
    assert coco.classes(config) == ["cat", "dog", "owl"]
    labels = {e.key: e.label for e in coco.read(config)}
    assert (labels["train/a.png"], labels["test/a.png"]) == (0, 1)


def test_an_unknown_category_is_one_line(annotated):
    """Mended fault: a KeyError."""
    changed(annotated, "bad.json", lambda facts: facts["annotations"][0].update(category_id=5))
    line = (
        r"train\.annotations: 'bad\.json' annotation 1 has the category_id 5, which is not in its categories"
    )
    with pytest.raises(ParamsError, match=line):
        coco.classes(of(annotated, train="bad.json"))


def test_two_images_of_one_id_are_one_line(annotated):
    changed(annotated, "bad.json", lambda facts: facts["images"][0].update(id=3))
    with pytest.raises(ParamsError, match="lists two images with one id"):
        list(coco.read(of(annotated, train="bad.json")))


def test_annotations_of_unlisted_pictures_are_left_out_and_counted(annotated, caplog):
    changed(annotated, "few.json", lambda facts: facts["images"].pop(1))
    found = {e.key: e.label for e in coco.read(of(annotated, train="few.json"))}
    assert set(found.values()) == {None}
    assert "'few.json': left out 3 annotations of pictures that it does not list" in caplog.text
