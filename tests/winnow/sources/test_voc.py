"""A VOC tree as the challenge lays it out; expected boxes follow from its counting of pixels from 1."""

import pytest

from tests.annotated import drawn, ingested
from tests.pictures import encode
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.sources import voc

THING = """<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>{box[0]}</xmin>
<ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"""


def sheet(things, size=(40, 30), file="x.jpg"):
    objects = "".join(THING.format(name=name, hard=hard, box=box) for name, box, hard in things)
    width, height = size
    return (
        f"<annotation><filename>{file}</filename><size><width>{width}</width><height>{height}</height>"
        f"<depth>3</depth></size>{objects}</annotation>"
    )


@pytest.fixture
def tree(tmp_path):
    """Three pictures to train on, the last without an xml, and one to test on."""
    root = tmp_path / "VOC2012"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / name).mkdir(parents=True)
    sheets = {
        "a": sheet([("dog", (1, 1, 10, 10), 0), ("cat", (5, 6, 40, 30), 1), ("cat", (5, 6, 7, 8), 0)]),
        "b": sheet([]),
        "d": sheet([("owl", (3, 3, 12, 12), 0)], file="d.png"),
    }
    for number, name in enumerate("abcd"):
        data = encode(drawn({(number, 2, 10, 10): "red"}, (40, 30)), "PNG" if name == "d" else "JPEG")
        (root / "JPEGImages" / f"{name}.{'png' if name == 'd' else 'jpg'}").write_bytes(data)
        if name in sheets:
            (root / "Annotations" / f"{name}.xml").write_text(sheets[name])
    (root / "ImageSets/Main/train.txt").write_text("a\nb\nc\na\n")
    (root / "ImageSets/Main/val.txt").write_text("d\n\n")
    (root / "ImageSets/Main/dog_train.txt").write_text("a  1\nb -1\n")
    return root


def of(root, **options):
    return Dataset("voc", path=str(root), options=options)


def test_boxes_labels_and_splits(tree):
    config = of(tree)
    assert voc.classes(config) == ["cat", "dog", "owl"]  # no head: a part is no object
    found = {e.key: e for e in voc.read(config)}
    assert list(found) == ["train/a", "train/b", "train/c", "test/d"]
    first = found["train/a"]
    assert [(o.category, o.box, o.crowd) for o in first.objects] == [
        (1, [0, 0, 10, 10], False),
        (0, [4, 5, 36, 25], True),
        (0, [4, 5, 3, 3], False),
    ]
    assert (first.label, first.annotated_size) == (1, (40, 30))  # the dog: the larger cat is difficult
    assert (found["train/b"].objects, found["train/b"].label) == ((), None)
    assert found["train/c"].objects is None
    assert found["test/d"].split == "test"
    assert found["test/d"].image.startswith(b"\x89PNG")  # by the xml's file name


@pytest.mark.parametrize(("how", "crowds"), [("ignore", [0, 1, 0]), ("keep", [0, 0, 0]), ("drop", [0, 0])])
def test_difficult_objects(tree, how, crowds):
    first = next(iter(voc.read(of(tree, difficult=how))))
    assert [thing.crowd for thing in first.objects] == crowds


def test_without_lists_every_xml_is_read(tree):
    found = list(voc.read(of(tree, train=None, test=None)))
    assert [e.key for e in found] == ["train/a", "train/b", "train/d"]


def test_it_is_ingested(tmp_path, tree):
    counts, pool, annotations = ingested(tmp_path, of(tree))
    assert (counts["ingested"], counts["pictures_annotated"], counts["pictures_without_objects"]) == (4, 3, 1)
    assert annotations.rows.tolist() == [0, 1, 3]
    assert annotations.of(0).masks == [None] * 3
    assert pool.classes[annotations.of(3).labels[0]] == "owl"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"train": "nope"}, r"dataset\.options\.train: 'nope': .*lists there: train, val; null reads all"),
        ({"difficult": "skip"}, r"dataset\.options\.difficult: 'skip'"),
        ({"trian": "train"}, "did you mean train"),
    ],
)
def test_wrong_options_are_one_line(tree, options, line):
    with pytest.raises(ParamsError, match=line):
        voc.classes(of(tree, **options))


@pytest.mark.parametrize(
    "text", ["<annotation>", "{}", "<annotation><object><bndbox/></object></annotation>", sheet([], ("a", 1))]
)
def test_a_wrong_xml_is_one_line(tree, text):
    (tree / "Annotations/b.xml").write_text(text)
    with pytest.raises(ParamsError, match=r"dataset\.path: Annotations/b\.xml is no VOC annotation"):
        voc.classes(of(tree))


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(ParamsError, match="has no folder Annotations; the voc source needs"):
        voc.classes(of(tmp_path))
    with pytest.raises(ParamsError, match="dataset.path: None"):
        voc.classes(Dataset("voc"))
