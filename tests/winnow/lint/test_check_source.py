"""Sources of each kind, found by their path and read as ingest reads them."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pictures import noise
from tests.tars import write_tar
from winnow.config.errors import ParamsError
from winnow.lint.lint import lint


def test_shards_by_their_headers_or_in_full(tmp_path):
    write_tar(
        tmp_path / "0.tar",
        ("0.png", noise(0)),
        ("1.png", b"no image"),
        ("2.txt", b"alone"),
        ("0.png", noise(1)),
        ("3.png", noise(3)[:90]),
    )
    headers = {"no_image": 1, "duplicate_key": 1}
    assert dict(lint(str(tmp_path)).counts) == headers
    report = lint(str(tmp_path), full=True)
    assert dict(report.counts) == {**headers, "not_an_image": 1, "truncated": 1}
    assert report.good == 1
    for path in ("0.tar", "{0..0}.tar"):
        assert dict(lint(str(tmp_path / path)).counts) == headers


def test_one_uid_in_two_shards(tmp_path):
    for shard, seed in ((0, 1), (1, 1), (2, 2)):
        write_tar(tmp_path / f"{shard}.tar", ("0.png", noise(seed)), ("0.json", b'{"uid": "u"}'))
    assert lint(str(tmp_path), full=True).first["uid_conflict"] == ["2/0"]


def test_class_folders_and_a_table(tmp_path):
    folder = tmp_path / "images/cat"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(noise(1))
    (folder / "b.png").write_bytes(b"")
    (folder / "c.txt").write_bytes(b"text")
    assert dict(lint(str(tmp_path / "images")).counts) == {"empty": 1, "not_an_image": 1}
    with open(tmp_path / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image"], ["images/cat/a.png"], ["images/cat/a.png"], ["gone.png"]])
    found = lint(str(tmp_path / "list.csv"))
    assert dict(found.counts) == {"duplicate_key": 1, "unreadable_file_FileNotFoundError": 1}


def test_coco(tmp_path):
    (tmp_path / "images/cat").mkdir(parents=True)
    (tmp_path / "images/cat/a.png").write_bytes(noise(1))
    names = ("a.png", "gone.png", "../../list.csv")
    images = [{"id": n, "file_name": name} for n, name in enumerate(names)]
    (tmp_path / "images/annotations.json").write_text(json.dumps({"images": images}))
    found = lint(str(tmp_path / "images/annotations.json"))
    assert dict(found.counts) == {"unreadable_file_FileNotFoundError": 1, "path_outside": 1}
    assert found.good == 1


def test_hugging_face(tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"image": [noise(1), b"x"]}), tmp_path / "data/train-00000.parquet")
    assert dict(lint(str(tmp_path)).counts) == {"not_an_image": 1}


def test_an_unreadable_shard_is_one_line(tmp_path):
    with pytest.raises(ParamsError) as caught:
        lint(str(tmp_path / "gone.tar"))
    assert "\n" not in str(caught.value)
