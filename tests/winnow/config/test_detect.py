"""Which source a path is for."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from winnow.config.detect import detect
from winnow.config.errors import ParamsError


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("s3://bucket/shards/", "webdataset"),
        ("a/{0..9}.tar", "webdataset"),
        ("shards.txt", "webdataset"),
        ("list.csv", "table"),
        ("list.tsv", "table"),
    ],
)
def test_a_path_may_say_it_by_itself(path, source):
    assert (detect(path).source, detect(path).path) == (source, path)


def test_a_folder_says_it_by_its_files(tmp_path):
    assert detect(str(tmp_path)).source == "folder"
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/a.xml").touch()
    assert detect(str(tmp_path)).source == "voc"
    (tmp_path / "state.json").write_text("{}")
    assert detect(str(tmp_path)).source == "huggingface"
    (tmp_path / "0.tar").write_bytes(b"")
    assert detect(str(tmp_path)).source == "webdataset"


def test_a_parquet_file_says_it_by_its_metadata(tmp_path):
    table = pa.table({"image": [b"x"]})
    pq.write_table(table, tmp_path / "table.parquet")
    pq.write_table(table.replace_schema_metadata({"huggingface": "{}"}), tmp_path / "hf.parquet")
    assert detect(str(tmp_path / "table.parquet")).source == "table"
    assert detect(str(tmp_path / "hf.parquet")).source == "huggingface"


@pytest.mark.parametrize("path", ["gone", "gone.json"])
def test_what_is_not_there_is_one_line(tmp_path, path):
    with pytest.raises(ParamsError) as caught:
        detect(str(tmp_path / path))
    assert "\n" not in str(caught.value)
