"""Hugging Face datasets from local files; the library `datasets` writes them, and reads what we export."""

import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pictures import plain
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Unreadable
from winnow.sources import huggingface


def config(path, **options):
    return Dataset("huggingface", path=str(path), options=options)


def made(datasets, numbers):
    features = datasets.Features(
        {
            "id": datasets.Value("int64"),
            "picture": datasets.Image(),
            "kind": datasets.ClassLabel(names=["cat", "dog"]),
            "caption": datasets.Value("string"),
        }
    )
    numbers = list(numbers)
    rows = {
        "id": numbers,
        "picture": [{"bytes": plain(n), "path": None} for n in numbers],
        "kind": [n % 2 if n % 5 else None for n in numbers],
        "caption": [f"no. {n}" for n in numbers],
    }
    return datasets.Dataset.from_dict(rows, features=features)


@pytest.fixture
def datasets(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets")


def seen(given):
    """All that the examples hold."""
    return [(e.key, e.image, e.split, e.label, e.caption) for e in huggingface.read(given)]


def expected(split, numbers, part):
    """What `seen` gives of `made`; 0, 5, ... have no label."""
    labels = [n % 2 if n % 5 else None for n in numbers]
    rows = enumerate(zip(numbers, labels, strict=True))
    return [(f"{split}-{i:09d}", plain(n), part, label, f"no. {n}") for i, (n, label) in rows]


def test_save_to_disk_of_a_dict(datasets, tmp_path):
    train = made(datasets, range(20)).select(range(1, 20, 2))
    sets = {"train": train, "validation": made(datasets, range(20, 26))}
    datasets.DatasetDict(sets).save_to_disk(tmp_path / "saved", num_shards={"train": 3, "validation": 1})
    given = config(tmp_path / "saved")
    assert huggingface.classes(given) == ["cat", "dog"]
    assert huggingface.count(given) == 16
    assert seen(given) == [
        *expected("train", range(1, 20, 2), "train"),
        *expected("validation", range(20, 26), "test"),
    ]


def test_save_to_disk_of_one_split_is_divided_by_a_hash(datasets, tmp_path):
    made(datasets, range(100)).save_to_disk(tmp_path / "saved")
    found = seen(config(tmp_path / "saved"))
    assert [row[1] for row in found] == [plain(n) for n in range(100)]
    assert 1 <= sum(row[2] == "test" for row in found) <= 25  # binomial(100, 0.1): 10, standard deviation 3


def test_parquet_as_the_hub_lays_it_out(datasets, tmp_path):
    (tmp_path / "hub/data").mkdir(parents=True)
    whole = made(datasets, range(10))
    for shard in range(2):
        path = tmp_path / f"hub/data/train-0000{shard}-of-00002-0123abcd.parquet"
        whole.shard(2, shard, contiguous=True).to_parquet(path)
    made(datasets, range(10, 13)).to_parquet(tmp_path / "hub/data/test-00000-of-00001.parquet")
    given = config(tmp_path / "hub")
    assert seen(given) == expected("train", range(10), "train") + expected("test", range(10, 13), "test")
    oracle = datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    assert {name: len(part) for name, part in oracle.items()} == {"train": 10, "test": 3}
    assert seen(config(tmp_path / "hub/data/test-00000-of-00001.parquet"))[0][1] == plain(10)


def test_the_arrow_cache_of_datasets(datasets, tmp_path):
    (tmp_path / "hub").mkdir()
    for split in ("train", "test"):
        made(datasets, range(4)).to_parquet(tmp_path / f"hub/{split}.parquet")
    datasets.load_dataset(str(tmp_path / "hub"), cache_dir=str(tmp_path / "cache"))
    [folder] = {path.parent for path in (tmp_path / "cache").rglob("*.arrow")}
    assert seen(config(folder)) == expected("train", range(4), "train") + expected("test", range(4), "test")


@pytest.mark.parametrize(
    "path", ["train/0.parquet", "data/train-00000.parquet", "en/train-00000-of-00001.parquet", "0000.parquet"]
)
def test_a_split_is_found_in_the_name(tmp_path, path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [plain(1)]}), tmp_path / path)
    assert [e.key for e in huggingface.read(config(tmp_path))] == ["train-000000000"]


def test_plain_columns_files_and_labels_of_numbers_or_text(tmp_path):
    (tmp_path / "a.png").write_bytes(plain(1))
    images, texts = ["a.png", "../b.png", None], ["x", None, "y"]
    table = {"image": images, "text": texts, "n": [2, -1, None], "word": ["b", "a", None]}
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    numbers, words = config(tmp_path, label="n"), config(tmp_path, label="word")
    assert (huggingface.classes(numbers), huggingface.classes(words)) == (["0", "1", "2"], ["a", "b"])
    one, outside, none = huggingface.read(numbers)
    assert (one.image, one.label, one.caption) == (plain(1), 2, "x")
    assert [e.label for e in (outside, none)] == [None, None]
    assert [e.reason for e in (outside, none)] == ["path_outside", "unreadable_file_IsADirectoryError"]
    assert isinstance(none, Unreadable)
    assert [e.label for e in huggingface.read(words)] == [1, 0, None]


def test_other_splits_are_named_or_left_out(tmp_path):
    table = pa.table({"image": [plain(1)]})
    for split in ("train", "extra"):
        (tmp_path / split).mkdir()
        with pa.ipc.new_stream(str(tmp_path / split / "data.arrow"), table.schema) as out:
            out.write_table(table)
        state = {"_data_files": [{"filename": "data.arrow"}]}
        (tmp_path / split / "state.json").write_text(json.dumps(state))
    says = r"dataset.options.splits.extra: not given; say train, test, or null"
    with pytest.raises(ParamsError, match=says):
        list(huggingface.read(config(tmp_path)))
    found = [example.split for example in huggingface.read(config(tmp_path, splits={"extra": "test"}))]
    assert found == ["train", "test"]
    assert len(list(huggingface.read(config(tmp_path, splits={"extra": None})))) == 1
    with pytest.raises(ParamsError, match="splits.extra: 'no' is wrong; allowed: train, test, null"):
        list(huggingface.read(config(tmp_path, splits={"extra": "no"})))


@pytest.mark.parametrize(
    ("files", "options", "says"),
    [
        ({}, {}, "holds no Hugging Face dataset"),
        ({"train.parquet": b"PAR1"}, {}, "cannot be read: "),
        ({"state.json": b"{"}, {}, "cannot be read: "),
        ({"state.json": b'{"_data_files": [{"filename": "gone.arrow"}]}'}, {}, "cannot be read: "),
        (
            {"state.json": b'{"_data_files": [{"filename": "../../x/t.arrow"}]}'},
            {},
            "cannot be read: .*t.arrow",
        ),
        ({"train.parquet": None}, {"image": "img"}, "dataset.options.image: 'img' is no column; allowed: n"),
        ({"train.parquet": None}, {}, "dataset.options.image: null, and no column is an image; allowed: n"),
        ({"train.parquet": None}, {"imgae": "n"}, "dataset.options.imgae: not a key; did you mean image"),
    ],
)
def test_a_mistake_is_one_line(tmp_path, files, options, says):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data or b"")
        if data is None:
            pq.write_table(pa.table({"n": [1]}), tmp_path / name)
    with pytest.raises(ParamsError, match=says) as caught:
        list(huggingface.read(config(tmp_path, **options)))
    assert "\n" not in str(caught.value)


@pytest.mark.timeout(60)
def test_a_fifo_is_no_dataset_and_a_dropped_example(tmp_path):
    """Mended fault: ingest waited for ever for someone to write to the FIFO."""
    os.mkfifo(tmp_path / "a.png")
    pq.write_table(pa.table({"image": ["a.png"]}), tmp_path / "train.parquet")
    assert [example.reason for example in huggingface.read(config(tmp_path))] == ["not_a_file"]
    os.mkfifo(tmp_path / "test.parquet")
    with pytest.raises(ParamsError, match="cannot be read: .*test.parquet: not a regular file"):
        list(huggingface.read(config(tmp_path)))
