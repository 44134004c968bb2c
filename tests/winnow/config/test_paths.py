"""A path that does not exist is refused when params.yaml is composed."""

import pytest

from winnow.config.compose import composed
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.paths import check_path
from winnow.pipeline.workspace import Workspace


@pytest.mark.parametrize(
    "path", [None, "", ".", "~", "s3://bucket/x/", "https://host/{00..12}.tar", "a-{0..9}.tar"]
)
def test_what_may_be_there_passes(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_path("dataset", Dataset(source="webdataset", path=path))


@pytest.mark.parametrize(
    "path", ["nope", "~/nope-nope", "nope/{0..9}.tar", "nope/a-{0..9}.tar", "nope/list.txt"]
)
def test_what_is_not_there_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError) as caught:
        check_path("datasets.pool.mine", Dataset(source="folder", path=path))
    assert str(caught.value).startswith(f"datasets.pool.mine.path: '{path}' does not exist (/")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_compose_refuses_it():
    line = r"^datasets.pool.folder.path: '/nope' does not exist \(/ does\); give a folder"
    with pytest.raises(ParamsError, match=line):
        composed(["dataset=folder", "dataset.path=/nope"], Workspace.find().conf)
