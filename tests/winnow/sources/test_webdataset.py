import json
import os
from collections import Counter

import pytest

from tests.tars import tar_bytes, write_tar
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Unreadable
from winnow.sources import webdataset


def read(path):
    config = Dataset("webdataset", path=path and str(path))
    return webdataset.classes(config), list(webdataset.read(config))


def test_img2dataset_shards(tmp_path):
    # img2dataset, README "Output format": 00000.tar holding 000000000.jpg, .txt, .json
    facts = json.dumps({"caption": "from json", "key": "000000000", "status": "success"}).encode()
    write_tar(
        tmp_path / "00000.tar",
        ("000000000.jpg", b"A"),
        ("000000000.json", facts),
        ("000000000.txt", b"from txt\n"),
        ("000000001.jpg", b"B"),
        ("000000001.json", facts),
        ("000000002.webp", b"C"),
    )
    classes, examples = read(tmp_path)
    assert classes == []
    assert [(e.key, e.image, e.label, e.caption) for e in examples] == [
        ("00000/000000000", b"A", None, "from txt"),
        ("00000/000000001", b"B", None, "from json"),
        ("00000/000000002", b"C", None, None),
    ]


def test_labels_splits_and_names(tmp_path):
    write_tar(
        tmp_path / "a.tar",
        ("x/1.cls", b"4\n"),
        ("x/1.json", b'{"split": "test"}'),
        ("x/1.png", b"A"),
        ("x/2.cls", b"0"),
        ("x/2.json", b'{"split": "train"}'),
        ("x/2.PNG", b"B"),
    )
    classes, examples = read(tmp_path)
    assert classes == ["0", "1", "2", "3", "4"]
    assert [(e.key, e.split, e.label) for e in examples] == [("a/x/1", "test", 4), ("a/x/2", "train", 0)]
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    classes, examples = read(tmp_path)
    assert classes == ["cat", "dog"]
    assert isinstance(examples[0], Unreadable)
    assert examples[0].reason == "label_out_of_range"
    (tmp_path / "classes.json").write_text('{"cat": 1}')
    with pytest.raises(ParamsError, match="must be a JSON list of class names"):
        read(tmp_path)


def test_nothing_vanishes_from_a_messy_shard(tmp_path):
    write_tar(
        tmp_path / "a.tar",
        ("1.txt", b"no image"),
        ("2.cls", b"cat"),
        ("2.png", b"A"),
        ("3.json", b"{oops"),
        ("3.png", b"B"),
        ("4.png", b"C"),
        ("4.txt", b"\xff caption"),
        ("5.seg.png", b"mask"),
        ("5.gif", b"D"),
    )
    reasons = {e.key: getattr(e, "reason", None) for e in read(tmp_path)[1]}
    ones = {"a/1": "no_image", "a/2": "label_unreadable"}
    assert reasons == ones | dict.fromkeys(("a/3", "a/4", "a/5"))
    assert read(tmp_path)[1][3].caption == "\ufffd caption"


def test_a_tenth_of_the_keys_is_the_test_split(tmp_path):
    write_tar(tmp_path / "a.tar", *[(f"{i}.png", b"x") for i in range(1000)])
    counts = Counter(e.split for e in read(tmp_path)[1])
    assert counts["test"] == pytest.approx(100, abs=38)  # binomial(1000, 0.1) has a standard deviation of 9.5


@pytest.mark.parametrize("where", [0, 100, 512, 700, 1024, 1536, 1600, 2048, 2560, 3072, 4000, 4608])
def test_a_truncated_shard_gives_what_can_be_read(tmp_path, where):
    # five samples of one header and one data block each, 1,024 bytes a sample, then at least 1,024 zero bytes
    whole = tar_bytes(*[(f"{i}.png", bytes([i + 1]) * 500) for i in range(5)])
    (tmp_path / "a.tar").write_bytes(whole[:where])
    write_tar(tmp_path / "b.tar", ("9.png", b"whole"))
    examples = read(tmp_path)[1]
    readable = [e for e in examples if not isinstance(e, Unreadable)]
    # tarfile needs 500 bytes of data, not the padding of its block
    assert [e.key for e in readable] == [f"a/{i}" for i in range(5) if where >= 1024 * i + 1012] + ["b/9"]
    assert all(e.image == bytes([int(e.key[-1]) + 1]) * 500 for e in readable[:-1])
    [lost] = [e for e in examples if isinstance(e, Unreadable)]
    assert lost.reason == "damaged_shard_a.tar"


@pytest.mark.parametrize("content", [b"", b"not a tar" * 200, b"\x1f\x8b" + bytes(600), bytes(100)])
def test_a_file_that_is_no_tar_is_counted(tmp_path, content):
    (tmp_path / "a.tar").write_bytes(content)
    assert [e.reason for e in read(tmp_path)[1]] == ["damaged_shard_a.tar"]


def test_a_damaged_header_in_the_middle_is_reported(tmp_path):
    data = bytearray(tar_bytes(*[(f"{i}.png", b"x") for i in range(5)]))
    data[1024 * 2 + 10] ^= 0xFF
    (tmp_path / "a.tar").write_bytes(data)
    assert [e.key for e in read(tmp_path)[1]] == ["a/0", "a/1", "a.tar"]


@pytest.mark.parametrize(("path", "says"), [(None, "null"), ("no", "no"), (".", "holds no")])
def test_a_missing_or_empty_path_is_one_line(tmp_path, path, says):
    with pytest.raises(ParamsError, match=rf"dataset\.path: .*{says}") as caught:
        read(path and str(tmp_path / path))
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(60)
def test_a_fifo_is_a_dropped_shard(tmp_path):
    """Mended fault: ingest waited for ever for someone to write to the FIFO."""
    write_tar(tmp_path / "a.tar", ("1.png", b"A"))
    os.mkfifo(tmp_path / "b.tar")
    write_tar(tmp_path / "c.tar", ("1.png", b"C"))
    os.mkfifo(tmp_path / "c.parquet")
    os.mkfifo(tmp_path / "classes.json")
    found = [(example.key, getattr(example, "reason", None)) for example in read(tmp_path)[1]]
    assert found == [("a/1", None), ("b.tar", "not_a_file_b.tar"), ("c/1", None)]
