"""A pool: a whole one is good, and each damage is found, counted and named."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from winnow.lint.check_pool import check_pool


@pytest.mark.parametrize("full", [False, True])
def test_a_whole_pool_is_good(pool, full):
    report = check_pool(pool, full)
    assert (report.failed, report.good) == (False, 20)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("offset", 512 * 3, "no_bytes"),
        ("size", 7, "no_bytes"),
        ("ext", "jpg", "no_bytes"),
        ("uid", "f" * 32, "altered"),
        ("uid", "no uid", "wrong_uid"),
        ("label", 3, "wrong_label"),
        ("key", "000000000", "wrong_key"),
        ("shard", 9, "missing_shard"),
    ],
)
def test_each_wrong_row_of_an_index_is_found(pool, put, column, value, reason):
    put(pool / "index.parquet", column, 4, value)
    report = check_pool(pool, full=False)
    assert report.counts[reason] == 1
    assert report.failed


def test_altered_bytes_are_found_where_all_are_hashed(pool):
    """Row 1 is not among the eight that are hashed by default."""
    shard = pool / "shards/shards-000000.tar"
    data = bytearray(shard.read_bytes())
    data[pq.read_table(pool / "index.parquet")["offset"][1].as_py() + 40] ^= 1
    shard.write_bytes(data)
    assert not check_pool(pool, full=False).failed
    assert dict(check_pool(pool, full=True).counts) == {"altered": 1}


def test_a_cut_and_a_missing_shard(pool):
    shard = pool / "shards/shards-000000.tar"
    shard.write_bytes(shard.read_bytes()[: pq.read_table(pool / "index.parquet")["offset"][10].as_py()])
    assert dict(check_pool(pool, full=False).counts) == {"damaged_shard": 1, "no_bytes": 10}
    shard.unlink()
    assert dict(check_pool(pool, full=False).counts) == {"missing_shard": 20}


def test_images_and_shards_without_a_row(pool):
    whole = (pool / "shards/shards-000000.tar").read_bytes()
    (pool / "shards/shards-000001.tar").write_bytes(whole)
    assert check_pool(pool, full=False).first["no_row"] == ["shards-000001.tar"]
    index = pq.read_table(pool / "index.parquet")
    pq.write_table(index.slice(0, 19), pool / "index.parquet")
    assert check_pool(pool, full=False).first["no_row"][0] == "shards-000000.tar/000000019.png"


def test_two_images_of_one_source_uid(pool, put):
    put(pool / "sources.parquet", "source_uid", 7, "s3")
    report = check_pool(pool, full=False)
    assert (dict(report.counts), report.first["uid_conflict"]) == ({"uid_conflict": 1}, ["s3"])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("index.parquet", "wrong_index"),
        ("classes.json", "wrong_classes"),
        ("sources.parquet", "sources_differ"),
    ],
)
def test_files_that_cannot_be_read(pool, name, reason):
    (pool / name).write_bytes(b"PAR1 no")
    assert check_pool(pool, full=False).counts[reason] == 1


def test_an_index_without_a_column(pool):
    pq.write_table(pa.table({"uid": ["a"]}), pool / "index.parquet")
    assert "no column" in check_pool(pool, full=False).first["wrong_index"][0]
