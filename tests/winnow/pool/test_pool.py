import contextlib
import dataclasses
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given

from tests.fuzzing import FEW, flipped
from tests.pictures import noise
from tests.pools import ingest
from winnow.config.datasets import Dataset
from winnow.ingest.writer import PoolWriter
from winnow.pool import images
from winnow.pool.pool import Pool


def test_every_image_is_read_back_by_its_byte_offset(tmp_path, examples, small_shards, write):
    pool = write(tmp_path / "pool", examples)
    assert len(pool) == 25
    names = sorted(path.name for path in (tmp_path / "pool" / "shards").glob("*.tar"))
    assert names == [f"shards-00000{i}.tar" for i in range(3)]
    for row, one in enumerate(examples):
        assert pool.read(row) == one.image
        pool.verify(row)


def test_offsets_are_those_that_tarfile_finds(tmp_path, examples, small_shards, write):
    pool = write(tmp_path / "pool", examples)
    oracle = {}
    for shard, path in enumerate(sorted((tmp_path / "pool" / "shards").glob("*.tar"))):
        with tarfile.open(path) as tar:
            oracle.update({m.name: (shard, m.offset_data, m.size) for m in tar.getmembers()})
    for row in pool.table.to_pylist():
        assert oracle[f"{row['key']}.{row['ext']}"] == (row["shard"], row["offset"], row["size"])


def test_rows_finds_the_first_of_equal_images(tmp_path, example, write):
    pool = write(tmp_path / "pool", [example(i) for i in (0, 1, 2, 1, 0)])
    uids = pool.table["uid"].to_pylist()
    assert pool.rows(uids).tolist() == [0, 1, 2, 1, 0]
    assert pool.rows(uids).dtype == np.int64
    assert pool.rows([]).tolist() == []


@pytest.mark.parametrize("unknown", ["f" * 32, "0" * 32, "", "abc"])
def test_rows_names_an_unknown_uid(tmp_path, unknown, example, write):
    pool = write(tmp_path / "pool", [example(0), example(1)])
    known = pool.table["uid"][0].as_py()
    for wrong in (unknown, known + "0", known[:-1]):
        with pytest.raises(ValueError, match=f"uid '{wrong}' is not in this pool of 2"):
            pool.rows([known, wrong])


def test_an_empty_pool_opens(tmp_path, write):
    pool = write(tmp_path / "pool", [])
    assert len(pool) == 0
    with pytest.raises(ValueError, match="not in this pool of 0"):
        pool.rows(["0" * 32])


def test_altered_truncated_and_missing_shards_are_reported(tmp_path, example, write):
    pool = write(tmp_path / "pool", [example(0), example(1)])
    shard = tmp_path / "pool" / "shards" / "shards-000000.tar"
    content = bytearray(shard.read_bytes())
    inside = pool.table["offset"][1].as_py() + 20
    content[inside] ^= 1
    shard.write_bytes(content)
    pool.verify(0)
    with pytest.raises(ValueError, match=r"shards-000000\.tar: altered: row 1"):
        pool.verify(1)
    shard.write_bytes(content[:inside])
    with pytest.raises(ValueError, match="ends early, at row 1"):
        pool.read(1)
    shard.unlink()
    with pytest.raises(ValueError, match="no such shard"):
        Pool.open(tmp_path / "pool").read(0)


def test_no_pool_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no complete pool here") as caught:
        Pool.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_threads_may_read_together(tmp_path, examples, small_shards, write):
    pool = write(tmp_path / "pool", examples)
    rows = np.random.default_rng(0).integers(0, 25, 2000).tolist()
    with ThreadPoolExecutor(8) as threads:
        for row, data in zip(rows, threads.map(pool.read, rows), strict=True):
            assert data == examples[row].image


def test_a_column_is_read_alone(tmp_path, examples, write):
    pool = write(tmp_path / "pool", examples)
    assert pool.column("caption", np.array([24, 0, 23])).to_pylist() == ["é ø 猫", "a photo of 0", None]


@pytest.mark.parametrize(
    ("copies", "expected"),
    [
        ([(0, "train", False), (1, "train", True), (0, "train", False)], 1),
        ([(0, "train", True), (1, "train", True), (0, "test", False)], 2),
    ],
)
def test_of_equal_images_the_one_that_curation_trusts_is_read(tmp_path, examples, copies, expected):
    """The same bytes corrupted, trusted and held out: a uid must mean the label of the most trusted."""
    image = images.measure(examples[0].image, 10_000)
    with PoolWriter(tmp_path, ["cat", "dog"]) as writer:
        for label, split, trusted in copies:
            copy = dataclasses.replace(examples[0], label=label, split=split)
            writer.add(copy, image, trusted=trusted, corruption=None, source="a")
    assert Pool.open(tmp_path).rows([image.uid]).tolist() == [expected]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """A real small pool of eight pictures, and the files of its index and shard."""
    root = tmp_path_factory.mktemp("pool")
    (root / "in" / "c").mkdir(parents=True)
    for number in range(8):
        (root / "in" / "c" / f"{number}.png").write_bytes(noise(number, (8, 8)))
    ingest(root / "out", Dataset("folder", path=str(root / "in")))
    parts = {"index": "index.parquet", "shard": "shards/shards-000000.tar"}
    return root / "out", {part: root / "out" / name for part, name in parts.items()}


def use(folder):
    """Open, look up, read and verify every row, as training does."""
    pool = Pool.open(folder)
    uids = pool.table["uid"].to_pylist()
    for row in pool.rows([uid for uid in uids if uid]).tolist():
        pool.verify(row)


@pytest.mark.slow
@pytest.mark.parametrize("part", ["index", "shard"])
def test_any_damaged_pool_opens_and_reads_or_says_why_not(ingested, part):
    folder, paths = ingested
    path = paths[part]
    whole = path.read_bytes()
    use(folder)

    @FEW
    @given(flipped(whole))
    def run(data):
        path.write_bytes(data)
        with contextlib.suppress(ValueError):
            use(folder)

    try:
        run()
    finally:
        path.write_bytes(whole)
