import io
import json
import tarfile
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from stages.params import Dataset, ParamsError
from stages.sources import Example, digits, fashion_mnist, folder, webdataset
from stages.sources._lost import Lost


def png(value, size=(8, 8)):
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def files(root, **content):
    for name, data in content.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


# digits


def test_digits_are_those_of_scikit_learn():
    config = Dataset(source="digits")
    examples = list(digits.read(config))
    assert Counter(e.split for e in examples) == {"train": 1437, "test": 360}
    assert len({e.key for e in examples}) == 1797
    first = np.asarray(Image.open(io.BytesIO(examples[0].image)))
    # sklearn.datasets.load_digits().images[0][0] is 0 0 5 13 9 1 0 0; 16 becomes 255
    assert first.dtype == np.uint8
    assert first[0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert (examples[0].key, examples[0].label, examples[0].caption) == ("train-00000", 0, "a photo of the digit zero")
    assert examples[1437].key == "test-00000"
    assert digits.classes(config)[7] == "seven"


def test_other_digits_are_refused(monkeypatch):
    monkeypatch.setattr(digits, "SHA256", "0" * 64)
    with pytest.raises(ValueError, match=f"SHA-256 [0-9a-f]{{64}}, expected {'0' * 64}"):
        next(digits.read(Dataset(source="digits")))


# folder


def read_folder(path):
    config = Dataset(source="folder", path=str(path))
    return folder.classes(config), list(folder.read(config))


def test_class_folders(tmp_path):
    files(tmp_path, **{"dog/a.png": b"1", "cat_two/deep/b.jpg": b"2", "dog/notes.txt": b"3", "README": b"4"})
    classes, examples = read_folder(tmp_path)
    assert classes == ["cat_two", "dog"]
    found = {e.key: (e.image, e.label, e.caption) for e in examples}
    assert found == {
        "dog/a.png": (b"1", 1, "a photo of dog"),
        "cat_two/deep/b.jpg": (b"2", 0, "a photo of cat two"),
        "dog/notes.txt": (b"3", 1, "a photo of dog"),
        "README": (b"4", None, None),
    }


def test_train_and_test_folders(tmp_path):
    files(tmp_path, **{"train/cat/1.png": b"1", "train/dog/1.png": b"2", "test/cat/1.png": b"3", "notes": b"4"})
    classes, examples = read_folder(tmp_path)
    assert classes == ["cat", "dog"]
    assert {(e.key, e.split, e.label) for e in examples if e.key != "notes"} == {
        ("train/cat/1.png", "train", 0),
        ("train/dog/1.png", "train", 1),
        ("test/cat/1.png", "test", 0),
    }
    assert len(examples) == 4


def test_val_is_a_test_split_and_strangers_beside_train_are_refused(tmp_path):
    files(tmp_path, **{"train/cat/1.png": b"1", "val/cat/1.png": b"3"})
    assert {e.split for e in read_folder(tmp_path)[1]} == {"train", "test"}
    files(tmp_path, **{"extra/cat/1.png": b"1"})
    with pytest.raises(ParamsError, match="'extra' beside 'train'; allowed there: train, test, val"):
        read_folder(tmp_path)


def test_without_splits_a_tenth_is_the_test_split_whatever_else_is_there(tmp_path):
    files(tmp_path, **{f"c/{i}.png": b"x" for i in range(1000)})
    before = {e.key: e.split for e in read_folder(tmp_path)[1]}
    # binomial(1000, 0.1): 100, standard deviation 9.5
    assert Counter(before.values())["test"] == pytest.approx(100, abs=38)
    files(tmp_path, **{f"b/{i}.png": b"x" for i in range(100)})
    after = {e.key: e.split for e in read_folder(tmp_path)[1]}
    assert before.items() <= after.items()


def test_order_takes_classes_in_turn(tmp_path):
    files(tmp_path, **{f"{c}/{i}.png": b"x" for c in "zab" for i in range(3)})
    keys = [e.key for e in read_folder(tmp_path)[1]]
    assert keys == [f"{c}/{i}.png" for i in range(3) for c in "abz"]


def test_names_of_any_bytes_and_unreadable_files_are_counted(tmp_path):
    (tmp_path / "c").mkdir()
    with open(bytes(tmp_path / "c") + b"/\xff\xfe.png", "wb") as file:
        file.write(b"1")
    (tmp_path / "c" / "broken.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "c" / "loop").symlink_to(tmp_path / "c")
    examples = read_folder(tmp_path)[1]
    assert sorted(e.key for e in examples) == ["c/\\xff\\xfe.png", "c/broken.png"]
    [lost] = [e for e in examples if isinstance(e, Lost)]
    assert (lost.key, lost.reason) == ("c/broken.png", "unreadable_file_FileNotFoundError")


def test_a_flat_folder_has_no_labels(tmp_path):
    files(tmp_path, **{"1.png": b"1", "2.png": b"2"})
    classes, examples = read_folder(tmp_path)
    assert classes == []
    assert [(e.key, e.label) for e in examples] == [("1.png", None), ("2.png", None)]


@pytest.mark.parametrize("source", [folder, webdataset])
def test_missing_and_empty_paths_are_one_line(tmp_path, source):
    name = source.__name__.rsplit(".", 1)[1]
    for path, words in ((None, "null"), (str(tmp_path / "no"), "no"), (str(tmp_path), "holds no")):
        with pytest.raises(ParamsError, match=r"dataset\.path") as caught:
            list(source.read(Dataset(source=name, path=path)))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)


# webdataset


def tar(path, *members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def read_shards(path):
    config = Dataset(source="webdataset", path=str(path))
    return webdataset.classes(config), list(webdataset.read(config))


def test_img2dataset_shards(tmp_path):
    # img2dataset, README "Output format": 00000.tar holding 000000000.jpg, .txt, .json
    facts = json.dumps({"caption": "from json", "key": "000000000", "status": "success"}).encode()
    tar(
        tmp_path / "00000.tar",
        ("000000000.jpg", b"A"), ("000000000.json", facts), ("000000000.txt", b"from txt\n"),
        ("000000001.jpg", b"B"), ("000000001.json", facts),
        ("000000002.webp", b"C"),
    )  # fmt: skip
    classes, examples = read_shards(tmp_path)
    assert classes == []
    assert [(e.key, e.image, e.label, e.caption) for e in examples] == [
        ("00000/000000000", b"A", None, "from txt"),
        ("00000/000000001", b"B", None, "from json"),
        ("00000/000000002", b"C", None, None),
    ]


def test_labels_splits_and_names(tmp_path):
    tar(
        tmp_path / "a.tar",
        ("x/1.cls", b"4\n"), ("x/1.json", b'{"split": "test"}'), ("x/1.png", b"A"),
        ("x/2.cls", b"0"), ("x/2.json", b'{"split": "train"}'), ("x/2.PNG", b"B"),
    )  # fmt: skip
    classes, examples = read_shards(tmp_path)
    assert classes == ["0", "1", "2", "3", "4"]
    assert [(e.key, e.split, e.label) for e in examples] == [("a/x/1", "test", 4), ("a/x/2", "train", 0)]
    files(tmp_path, **{"classes.json": b'["cat", "dog"]'})
    classes, examples = read_shards(tmp_path)
    assert classes == ["cat", "dog"]
    assert isinstance(examples[0], Lost)
    assert examples[0].reason == "label_out_of_range"
    files(tmp_path, **{"classes.json": b'{"cat": 1}'})
    with pytest.raises(ParamsError, match="a JSON list of class names is wanted"):
        read_shards(tmp_path)


def test_nothing_vanishes_from_a_messy_shard(tmp_path):
    tar(
        tmp_path / "a.tar",
        ("1.txt", b"no image"), ("2.cls", b"cat"), ("2.png", b"A"), ("3.json", b"{oops"), ("3.png", b"B"),
        ("4.png", b"C"), ("4.txt", b"\xff caption"), ("5.seg.png", b"mask"), ("5.gif", b"D"),
    )  # fmt: skip
    reasons = [(e.key, getattr(e, "reason", None)) for e in read_shards(tmp_path)[1]]
    assert reasons == [
        ("a/1", "no_image"), ("a/2", "label_unreadable"), ("a/3", None), ("a/4", None), ("a/5", None),
    ]  # fmt: skip
    assert read_shards(tmp_path)[1][3].caption == "\ufffd caption"


def test_a_tenth_of_the_keys_is_the_test_split(tmp_path):
    tar(tmp_path / "a.tar", *[(f"{i}.png", b"x") for i in range(1000)])
    counts = Counter(e.split for e in read_shards(tmp_path)[1])
    assert counts["test"] == pytest.approx(100, abs=38)  # binomial(1000, 0.1) has a standard deviation of 9.5


@pytest.mark.parametrize("where", [0, 100, 512, 700, 1024, 1536, 1600, 2048, 2560, 3072, 4000, 4608])
def test_a_truncated_shard_gives_what_can_be_read(tmp_path, where):
    # five samples of one header and one data block each, 1,024 bytes a sample, then at least 1,024 zero bytes
    whole = tar(tmp_path / "a.tar", *[(f"{i}.png", bytes([i + 1]) * 500) for i in range(5)]).read_bytes()
    (tmp_path / "a.tar").write_bytes(whole[:where])
    tar(tmp_path / "b.tar", ("9.png", b"whole"))
    examples = read_shards(tmp_path)[1]
    readable = [e for e in examples if not isinstance(e, Lost)]
    # tarfile needs 500 bytes of data, not the padding of its block
    assert [e.key for e in readable] == [f"a/{i}" for i in range(5) if where >= 1024 * i + 1012] + ["b/9"]
    assert all(e.image == bytes([int(e.key[-1]) + 1]) * 500 for e in readable[:-1])
    [lost] = [e for e in examples if isinstance(e, Lost)]
    assert lost.reason == "damaged_shard_a.tar"


@pytest.mark.parametrize("content", [b"", b"not a tar" * 200, b"\x1f\x8b" + bytes(600), bytes(100)])
def test_what_is_no_tar_is_counted(tmp_path, content):
    files(tmp_path, **{"a.tar": content})
    assert [e.reason for e in read_shards(tmp_path)[1]] == ["damaged_shard_a.tar"]


def test_a_damaged_header_in_the_middle_is_told(tmp_path):
    data = bytearray(tar(tmp_path / "a.tar", *[(f"{i}.png", b"x") for i in range(5)]).read_bytes())
    data[1024 * 2 + 10] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    assert [e.key for e in read_shards(tmp_path)[1]] == ["a/0", "a/1", "a.tar"]


def test_every_source_keeps_the_contract():
    for source in (digits, fashion_mnist, folder, webdataset):
        assert callable(source.read)
        assert callable(source.classes)
        assert "icence" in source.__doc__
        assert "hecksum" in source.__doc__
    assert issubclass(Lost, Example)
