"""Lineage: steps with defaults, code and files; no secret and no path of a machine."""

import hashlib

import pytest

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.filters import Step
from winnow.pipeline.code import digest
from winnow.versions import lineage


def test_steps_have_defaults_and_the_hash_of_their_code():
    (step,) = lineage.planned({"aspect": None}, "k")
    assert step["parameters"] == {"max_ratio": 3.0}  # the default of winnow/filters/aspect.py
    assert step["code"] == digest("winnow.filters.aspect") != digest("winnow.filters.blank")


def test_a_setting_that_a_filter_does_not_have_is_refused():
    with pytest.raises(ParamsError, match="versions.v.filters.aspect.*max_ratoi: not a key"):
        lineage.planned({"aspect": {"max_ratoi": 2}}, "versions.v.filters")


def test_a_file_is_named_without_its_folder_and_hashed(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("cat\n")
    (step,) = lineage.planned({"concepts": {"entries": str(words)}}, "k")
    assert step["parameters"]["entries"] == "words.txt"
    assert step["files"] == {"entries": hashlib.sha256(b"cat\n").hexdigest()}


def test_a_filter_after_one_that_left_nothing_has_no_step():
    plan = lineage.planned({"tiny": {}, "blank": {}}, "k")
    (step,) = lineage.all_done(plan, [Step("tiny", 3, ["tiny"] * 3)])
    assert (step["name"], step["rows_in"], step["dropped"]) == ("tiny", 3, {"tiny": 3})


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/me/data/shards", "shards"),
        ("data/{000..010}.tar", "{000..010}.tar"),
        ("https://me:secret@host/a/b.tar?token=1", "https://host/a/b.tar"),
        ("s3://bucket/a", "s3://bucket/a"),
        (None, None),
    ],
)
def test_a_source_has_no_machine_and_no_secret(path, expected):
    storage = {"key": "AKIA", "secret": "hush"}
    options = {"annotations": "/home/me/x.json", "label": "kind", "sha256": True, "storage": storage}
    found = lineage.source(Dataset(source="webdataset", path=path, options=options))
    assert found["path"] == expected
    assert found["options"] == {"annotations": "x.json", "label": "kind", "sha256": True}
