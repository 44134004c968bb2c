import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pools import table
from winnow.ingest.writer import PoolWriter
from winnow.pool import images
from winnow.pool.parts import INDEX
from winnow.pool.pool import Pool


def test_the_index_has_its_columns_and_nothing_of_the_corruption(tmp_path, examples, write):
    pool = write(tmp_path / "pool", examples, corruption={"source-3": "noise"})
    assert pool.table.drop(["dataset"]).schema.remove_metadata() == INDEX
    assert pool.table["dataset"].unique().to_pylist() == ["pool"]  # the folder's name
    assert pool.classes == ["cat", "dog"]
    row = pool.table.slice(23, 1).to_pylist()[0]
    assert (row["key"], row["label"], row["caption"], row["split"]) == ("000000023", -1, None, "train")
    assert (row["width"], row["height"]) == (9, 11)
    assert pool.table["caption"][24].as_py() == "é ø 猫"
    assert pool.table["trusted"].to_pylist() == [i % 10 == 0 for i in range(25)]
    uid = hashlib.sha256(examples[3].image).hexdigest()[:32]
    expected = [{"key": "000000003", "uid": uid, "corruption": "noise"}]
    assert table(tmp_path / "pool", "corruption") == expected
    assert table(tmp_path / "pool", "dropped") == [{"key": "bad.jpg", "reason": "truncated"}]


def test_corruption_shows_in_no_shard_and_no_index(tmp_path, examples, write):
    write(tmp_path / "a", examples)
    write(tmp_path / "b", examples, corruption={"source-3": "noise"})
    for name in ("shards/shards-000000.tar", "index.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_itself_reads_the_shards(tmp_path, examples, small_shards, write):
    import webdataset as wds

    pool = write(tmp_path / "pool", examples)
    urls = [str(path) for path in sorted((tmp_path / "pool" / "shards").glob("*.tar"))]
    samples = list(wds.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == pool.table["key"].to_pylist()
    for sample, one in zip(samples, examples, strict=True):
        assert one.image in (sample.get("png"), sample.get("jpg"), sample.get("webp"))
        assert sample.get("cls") == (None if one.label is None else str(one.label).encode())
        assert sample.get("txt") == (None if one.caption is None else one.caption.encode())
        assert json.loads(sample["json"])["source"] == one.key


def test_same_input_same_bytes(tmp_path, examples, write):
    for name in "ab":
        write(tmp_path / name, examples)
    for path in sorted(path for path in (tmp_path / "a").rglob("*") if path.is_file()):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes(), path.name


def test_an_unfinished_pool_does_not_open(tmp_path, examples):
    writer = PoolWriter(tmp_path)
    image = images.measure(examples[0].image, 10**6)
    writer.add(examples[0], image, trusted=False, corruption=None, source="k")
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with pytest.raises(ValueError, match="no complete pool"):
        Pool.open(tmp_path)


def test_a_folder_may_have_any_name(tmp_path, example, write):
    pool = write(tmp_path / "100 % ä %d", [example(0)])
    assert pool.read(0) == example(0).image


def test_many_row_groups_are_one_table(tmp_path, small_shards, example, write):
    pool = write(tmp_path / "pool", [example(i) for i in range(21)])
    assert pq.ParquetFile(tmp_path / "pool" / "index.parquet").num_row_groups == 3
    assert isinstance(pool.table, pa.Table)
    assert pool.table["key"].to_pylist() == [f"{i:09d}" for i in range(21)]
