import os
from collections import Counter

import pytest

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Unreadable
from winnow.sources import folder


def files(root, **content):
    for name, data in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def read(path):
    config = Dataset("folder", path=path and str(path))
    return folder.classes(config), list(folder.read(config))


def test_class_folders(tmp_path):
    files(tmp_path, **{"dog/a.png": b"1", "cat_two/deep/b.jpg": b"2", "dog/notes.txt": b"3", "README": b"4"})
    classes, examples = read(tmp_path)
    assert classes == ["cat_two", "dog"]
    found = {e.key: (e.image, e.label, e.caption) for e in examples}
    assert found == {
        "dog/a.png": (b"1", 1, "a photo of dog"),
        "cat_two/deep/b.jpg": (b"2", 0, "a photo of cat two"),
        "dog/notes.txt": (b"3", 1, "a photo of dog"),
        "README": (b"4", None, None),
    }


def test_train_and_test_folders(tmp_path):
    files(
        tmp_path, **{"train/cat/1.png": b"1", "train/dog/1.png": b"2", "test/cat/1.png": b"3", "notes": b"4"}
    )
    classes, examples = read(tmp_path)
    assert classes == ["cat", "dog"]
    assert {(e.key, e.split, e.label) for e in examples if e.key != "notes"} == {
        ("train/cat/1.png", "train", 0),
        ("train/dog/1.png", "train", 1),
        ("test/cat/1.png", "test", 0),
    }
    assert len(examples) == 4


def test_val_is_a_test_split_and_other_folders_beside_train_are_refused(tmp_path):
    files(tmp_path, **{"train/cat/1.png": b"1", "val/cat/1.png": b"3"})
    assert {e.split for e in read(tmp_path)[1]} == {"train", "test"}
    files(tmp_path, **{"extra/cat/1.png": b"1"})
    with pytest.raises(ParamsError, match="'extra' beside 'train'; allowed there: train, test, val"):
        read(tmp_path)


def test_without_splits_a_tenth_is_the_test_split_whatever_else_is_there(tmp_path):
    files(tmp_path, **{f"c/{i}.png": b"x" for i in range(1000)})
    before = {e.key: e.split for e in read(tmp_path)[1]}
    # binomial(1000, 0.1): 100, standard deviation 9.5
    assert Counter(before.values())["test"] == pytest.approx(100, abs=38)
    files(tmp_path, **{f"b/{i}.png": b"x" for i in range(100)})
    after = {e.key: e.split for e in read(tmp_path)[1]}
    assert before.items() <= after.items()


def test_order_takes_classes_in_turn(tmp_path):
    files(tmp_path, **{f"{c}/{i}.png": b"x" for c in "zab" for i in range(3)})
    keys = [e.key for e in read(tmp_path)[1]]
    assert keys == [f"{c}/{i}.png" for i in range(3) for c in "abz"]


def test_names_of_any_bytes_and_unreadable_files_are_counted(tmp_path):
    (tmp_path / "c").mkdir()
    with open(bytes(tmp_path / "c") + b"/\xff\xfe.png", "wb") as file:
        file.write(b"1")
    (tmp_path / "c" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "c" / "loop").symlink_to(tmp_path / "c")
    examples = read(tmp_path)[1]
    assert sorted(e.key for e in examples) == ["c/\\xff\\xfe.png", "c/broken.png"]
    [lost] = [e for e in examples if isinstance(e, Unreadable)]
    assert (lost.key, lost.reason) == ("c/broken.png", "unreadable_file_FileNotFoundError")


def test_a_flat_folder_has_no_labels(tmp_path):
    files(tmp_path, **{"1.png": b"1", "2.png": b"2"})
    classes, examples = read(tmp_path)
    assert classes == []
    assert [(e.key, e.label) for e in examples] == [("1.png", None), ("2.png", None)]


@pytest.mark.parametrize(("path", "says"), [(None, "null"), ("no", "no"), (".", "holds no")])
def test_a_missing_or_empty_path_is_one_line(tmp_path, path, says):
    with pytest.raises(ParamsError, match=rf"dataset\.path: .*{says}") as caught:
        read(path and str(tmp_path / path))
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(60)
def test_a_fifo_and_a_device_are_dropped_examples(tmp_path):
    """Mended fault: ingest waited for ever for someone to write to the FIFO."""
    files(tmp_path, **{"cat/a.png": b"1"})
    os.mkfifo(tmp_path / "cat" / "fifo")
    (tmp_path / "cat" / "zero").symlink_to("/dev/zero")
    reasons = {example.key: getattr(example, "reason", None) for example in read(tmp_path)[1]}
    assert reasons == {"cat/a.png": None, "cat/fifo": "not_a_file", "cat/zero": "not_a_file"}
