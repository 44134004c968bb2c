"""Lists of images: parquet, csv and tsv tables, and COCO json."""

import io
import json

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.params import Dataset, ParamsError
from stages.sources import coco, table
from stages.sources._lost import Lost


def png(value):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    for name, value in (("a.png", 1), ("b.png", 2), ("c.png", 3)):
        (tmp_path / "pictures" / name).write_bytes(png(value))
    (tmp_path / "secret.png").write_bytes(png(9))
    return tmp_path


ROWS = {
    "file": ["a.png", "b.png", "../secret.png", "gone.png"],
    "kind": ["dog", "cat", "dog", None],
    "text": ["a dog", None, "x", "y"],
    "part": ["train", "val", "train", "train"],
}
OPTIONS = {"image": "file", "label": "kind", "caption": "text", "split": "part", "root": "pictures"}


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv"])
def test_a_table_of_files(pictures, ending):
    path = pictures / f"list.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table(ROWS), path)
    else:
        csv.write_csv(pa.table(ROWS), path, csv.WriteOptions(delimiter="," if ending == "csv" else "\t"))
    config = Dataset(source="table", path=str(path), options=OPTIONS)
    assert table.classes(config) == ["cat", "dog"]
    first, second, outside, gone = table.read(config)
    assert (first.key, first.image, first.split, first.caption) == ("a.png", png(1), "train", "a dog")
    assert (second.image, second.split) == (png(2), "test")
    assert (table.classes(config)[first.label], table.classes(config)[second.label]) == ("dog", "cat")
    assert isinstance(outside, Lost)
    assert outside.reason == "path_outside"
    assert gone.reason == "unreadable_file_FileNotFoundError"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_parquet_with_the_bytes_inside(tmp_path, wrapped):
    """Hugging Face's image feature is {bytes, path}; numbers as labels keep their meaning."""
    images = [{"bytes": png(5), "path": "x.png"}, {"bytes": png(6), "path": None}] if wrapped else [png(5), png(6)]
    pq.write_table(pa.table({"image": images, "label": [2, 0]}), tmp_path / "list.parquet")
    config = Dataset(source="table", path=str(tmp_path / "list.parquet"), options={"label": "label"})
    assert table.classes(config) == ["0", "1", "2"]
    assert [(e.key, e.image, e.label) for e in table.read(config)] == [("000000000", png(5), 2), ("000000001", png(6), 0)]


@pytest.mark.parametrize(
    ("path", "options", "says"),
    [
        (None, {}, "dataset.path: null; the table source needs"),
        ("nothing.parquet", {}, "dataset.path: .*nothing.parquet' is no file of .parquet, .csv, .tsv; give one"),
        ("broken.parquet", {}, "dataset.path: .* cannot be read: "),
        ("list.csv", {"image": "img"}, "dataset.options.image: 'img' is no column; allowed: image, label"),
        ("list.csv", {"imgae": "img"}, "dataset.options.imgae: not a key; did you mean image"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, path, options, says):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "list.csv").write_text("image,label\na.png,1\n")
    with pytest.raises(ParamsError, match=says) as caught:
        list(table.read(Dataset(source="table", path=path and str(tmp_path / path), options=options)))
    assert "\n" not in str(caught.value)


@pytest.fixture
def annotated(pictures):
    """Three pictures; two with captions, and instances of the first with a crowd that is larger than the rest."""
    images = [{"id": 7, "file_name": "b.png"}, {"id": 3, "file_name": "a.png"}, {"id": 9, "file_name": "../secret.png"}]
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
    (pictures / "instances.json").write_text(json.dumps({"images": images, "annotations": instances, "categories": categories}))
    return pictures


def of(folder, **parts):
    return Dataset(
        source="coco", path=str(folder), options={name: {"annotations": f, "images": "pictures"} for name, f in parts.items()}
    )


def test_coco_captions(annotated):
    config = of(annotated, train="captions.json", test="captions.json")
    found = {e.key: e for e in coco.read(config)}
    assert list(found) == ["train/a.png", "train/b.png", "train/../secret.png", "test/a.png", "test/b.png", "test/../secret.png"]
    assert (found["train/a.png"].image, found["train/a.png"].caption) == (png(1), "a dog")
    assert (found["test/b.png"].split, found["test/b.png"].caption, found["test/b.png"].label) == ("test", "a cat", None)
    assert found["train/../secret.png"].reason == "path_outside"
    assert coco.classes(config) == []


def test_coco_instances(annotated):
    config = of(annotated, train="instances.json")
    assert coco.classes(config) == ["cat", "dog"]
    labels = {e.key: e.label for e in coco.read(config)}
    assert labels["train/a.png"] == 0  # the cat is the largest that is no crowd
    assert labels["train/b.png"] is None


@pytest.mark.parametrize(("text", "says"), [("{", "is no COCO"), ('{"images": [{"id": 1}]}', "is no COCO"), (None, "cannot be read")])
def test_a_wrong_json_is_one_line(annotated, text, says):
    if text:
        (annotated / "bad.json").write_text(text)
    with pytest.raises(ParamsError, match=f"dataset.options.train.annotations: 'bad.json' {says}"):
        list(coco.read(of(annotated, train="bad.json")))
