import os

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest

from tests.pictures import plain
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Unreadable
from winnow.sources import table

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
    config = Dataset("table", path=str(path), options=OPTIONS)
    assert table.classes(config) == ["cat", "dog"]
    first, second, outside, gone = table.read(config)
    assert (first.key, first.image, first.split, first.caption) == ("a.png", plain(1), "train", "a dog")
    assert (second.image, second.split) == (plain(2), "test")
    assert (table.classes(config)[first.label], table.classes(config)[second.label]) == ("dog", "cat")
    assert isinstance(outside, Unreadable)
    assert outside.reason == "path_outside"
    assert gone.reason == "unreadable_file_FileNotFoundError"


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_parquet_with_the_bytes_inside(tmp_path, wrapped):
    """Hugging Face's image feature is {bytes, path}; numbers as labels keep their meaning."""
    images = [plain(5), plain(6)]
    if wrapped:
        images = [{"bytes": data, "path": name} for data, name in zip(images, ("x.png", None), strict=True)]
    pq.write_table(pa.table({"image": images, "label": [2, 0]}), tmp_path / "list.parquet")
    config = Dataset("table", path=str(tmp_path / "list.parquet"), options={"label": "label"})
    assert table.classes(config) == ["0", "1", "2"]
    found = [(example.key, example.image, example.label) for example in table.read(config)]
    assert found == [("000000000", plain(5), 2), ("000000001", plain(6), 0)]


@pytest.mark.parametrize(
    ("path", "options", "says"),
    [
        (None, {}, "dataset.path: null; the table source needs"),
        ("no.parquet", {}, "dataset.path: .*no.parquet' is no file of .parquet, .csv, .tsv; give one"),
        ("broken.parquet", {}, "dataset.path: .* cannot be read: "),
        ("list.csv", {"image": "img"}, "dataset.options.image: 'img' is no column; allowed: image, label"),
        ("list.csv", {"imgae": "img"}, "dataset.options.imgae: not a key; did you mean image"),
    ],
)
def test_a_wrong_table_is_one_line(tmp_path, path, options, says):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "list.csv").write_text("image,label\na.png,1\n")
    with pytest.raises(ParamsError, match=says) as caught:
        list(table.read(Dataset("table", path=path and str(tmp_path / path), options=options)))
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(60)
def test_a_fifo_and_a_loop_of_links_are_dropped_examples(pictures):
    """Mended faults: the FIFO was waited for for ever, the loop ended ingest with a RuntimeError."""
    os.mkfifo(pictures / "pictures" / "fifo")
    (pictures / "pictures" / "loop").symlink_to("loop")
    (pictures / "list.csv").write_text("image\na.png\nfifo\nloop\n")
    config = Dataset("table", path=str(pictures / "list.csv"), options={"root": "pictures"})
    reasons = [getattr(example, "reason", None) for example in table.read(config)]
    assert reasons == [None, "not_a_file", "unreadable_file_OSError"]  # the same on every Python
