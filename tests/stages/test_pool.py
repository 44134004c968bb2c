import dataclasses
import hashlib
import json
import tarfile
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.data import images, index, pool_writer, uids
from stages.data.pool import INDEX, Pool
from stages.data.pool_writer import PoolWriter
from stages.params import Run
from stages.sources import Example
from stages.training.examples import examples as opened_for


def example(number, kind="PNG", **fields):
    pixels = np.random.default_rng(number).integers(0, 256, (8 + number % 5, 9, 3), dtype=np.uint8)
    buffer = images.io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return Example(f"source-{number}", buffer.getvalue(), **fields)


def write(folder, examples, dirt=()):
    folder.mkdir(exist_ok=True)
    with PoolWriter(folder, ["cat", "dog"]) as writer:
        for one in examples:
            measured = images.measure(one.image, 10**6)
            kind = dict(dirt).get(one.key)
            writer.add(one, measured, trusted=one.key.endswith("0"), dirt=kind, source=one.key)
        writer.drop("bad.jpg", "truncated")
    return Pool.open(folder)


@pytest.fixture
def examples():
    kinds = ["PNG", "JPEG", "WEBP"]
    made = [example(i, kinds[i % 3], label=i % 2, caption=f"a photo of {i}") for i in range(23)]
    return [*made, example(23), example(24, split="test", caption="é ø 猫")]


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(pool_writer, "MAX_COUNT", 10)


def test_every_image_is_read_back_by_its_byte_offset(tmp_path, examples, small_shards):
    opened = write(tmp_path / "pool", examples)
    assert len(opened) == 25
    assert sorted(p.name for p in (tmp_path / "pool" / "shards").glob("*.tar")) == [f"shards-00000{i}.tar" for i in range(3)]
    for row, one in enumerate(examples):
        assert opened.read(row) == one.image
        opened.verify(row)


def test_offsets_are_those_that_tarfile_finds(tmp_path, examples, small_shards):
    opened = write(tmp_path / "pool", examples)
    oracle = {}
    for shard, path in enumerate(sorted((tmp_path / "pool" / "shards").glob("*.tar"))):
        with tarfile.open(path) as tar:
            oracle.update({m.name: (shard, m.offset_data, m.size) for m in tar.getmembers()})
    for row in opened.table.to_pylist():
        assert oracle[f"{row['key']}.{row['ext']}"] == (row["shard"], row["offset"], row["size"])


def test_index_has_its_columns_and_no_word_of_dirt(tmp_path, examples):
    opened = write(tmp_path / "pool", examples, dirt={"source-3": "noise"})
    assert opened.table.schema.remove_metadata() == INDEX
    assert opened.classes == ["cat", "dog"]
    row = opened.table.slice(23, 1).to_pylist()[0]
    assert (row["key"], row["label"], row["caption"], row["split"]) == ("000000023", -1, None, "train")
    assert (row["width"], row["height"]) == (9, 11)
    assert opened.table["caption"][24].as_py() == "é ø 猫"
    assert opened.table["trusted"].to_pylist() == [i % 10 == 0 for i in range(25)]
    for name in ("key", "uid", "label", "caption", "ext"):
        assert opened.table[name].to_pylist() == Pool.open(tmp_path / "pool").table[name].to_pylist()
    dirt = pq.read_table(tmp_path / "pool" / "dirt.parquet").to_pylist()
    assert dirt == [{"key": "000000003", "uid": hashlib.sha256(examples[3].image).hexdigest()[:32], "dirt": "noise"}]
    dropped = pq.read_table(tmp_path / "pool" / "dropped.parquet").to_pylist()
    assert dropped == [{"key": "bad.jpg", "reason": "truncated"}]


def test_polluted_shards_differ_from_clean_ones_in_nothing_but_dirt(tmp_path, examples):
    write(tmp_path / "a", examples)
    write(tmp_path / "b", examples, dirt={"source-3": "noise"})
    for name in ("shards/shards-000000.tar", "index.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_webdataset_itself_reads_the_shards(tmp_path, examples, small_shards):
    import webdataset as wds

    opened = write(tmp_path / "pool", examples)
    urls = [str(p) for p in sorted((tmp_path / "pool" / "shards").glob("*.tar"))]
    samples = list(wds.WebDataset(urls, shardshuffle=False))
    assert [s["__key__"] for s in samples] == opened.table["key"].to_pylist()
    for sample, one in zip(samples, examples, strict=True):
        assert one.image in (sample.get("png"), sample.get("jpg"), sample.get("webp"))
        assert sample.get("cls") == (None if one.label is None else str(one.label).encode())
        assert sample.get("txt") == (None if one.caption is None else one.caption.encode())
        assert json.loads(sample["json"])["source"] == one.key


def test_same_input_same_bytes(tmp_path, examples):
    for name in "ab":
        write(tmp_path / name, examples)
    for path in sorted(p for p in (tmp_path / "a").rglob("*") if p.is_file()):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path.name


def test_rows_finds_the_first_of_equal_images(tmp_path):
    ones = [example(i) for i in (0, 1, 2, 1, 0)]
    opened = write(tmp_path / "pool", ones)
    uids = opened.table["uid"].to_pylist()
    assert opened.rows(uids).tolist() == [0, 1, 2, 1, 0]
    assert opened.rows(uids).dtype == np.int64
    assert opened.rows([]).tolist() == []


@pytest.mark.parametrize("stranger", ["f" * 32, "0" * 32, "", "abc"])
def test_rows_names_an_unknown_uid(tmp_path, stranger):
    opened = write(tmp_path / "pool", [example(0), example(1)])
    known = opened.table["uid"][0].as_py()
    for wrong in (stranger, known + "0", known[:-1]):
        with pytest.raises(ValueError, match=f"uid '{wrong}' is not in this pool of 2"):
            opened.rows([known, wrong])


def test_an_empty_pool_opens(tmp_path):
    opened = write(tmp_path / "pool", [])
    assert len(opened) == 0
    with pytest.raises(ValueError, match="not in this pool of 0"):
        opened.rows(["0" * 32])


def test_altered_and_cut_shards_are_told(tmp_path):
    opened = write(tmp_path / "pool", [example(0), example(1)])
    shard = tmp_path / "pool" / "shards" / "shards-000000.tar"
    content = bytearray(shard.read_bytes())
    content[opened.table["offset"][1].as_py() + 20] ^= 1
    shard.write_bytes(content)
    opened.verify(0)
    with pytest.raises(ValueError, match=r"shards-000000\.tar: altered: row 1"):
        opened.verify(1)
    shard.write_bytes(content[: opened.table["offset"][1].as_py() + 20])
    with pytest.raises(ValueError, match="ends early, at row 1"):
        opened.read(1)
    shard.unlink()
    with pytest.raises(ValueError, match="no such shard"):
        Pool.open(tmp_path / "pool").read(0)


def test_no_pool_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no whole pool here") as caught:
        Pool.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_half_a_pool_does_not_open(tmp_path, examples):
    writer = PoolWriter(tmp_path)
    writer.add(examples[0], images.measure(examples[0].image, 10**6), trusted=False, dirt=None, source="k")
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with pytest.raises(ValueError, match="no whole pool"):
        Pool.open(tmp_path)


def test_threads_may_read_together(tmp_path, examples, small_shards):
    opened = write(tmp_path / "pool", examples)
    rows = np.random.default_rng(0).integers(0, 25, 2000).tolist()
    with ThreadPoolExecutor(8) as threads:
        for row, data in zip(rows, threads.map(opened.read, rows), strict=True):
            assert data == examples[row].image


def test_a_folder_may_have_any_name(tmp_path):
    folder = tmp_path / "100 % ä %d"
    opened = write(folder, [example(0)])
    assert opened.read(0) == example(0).image


def test_many_row_groups_are_one_table(tmp_path, small_shards):
    opened = write(tmp_path / "pool", [example(i) for i in range(21)])
    assert pq.ParquetFile(tmp_path / "pool" / "index.parquet").num_row_groups == 3
    assert isinstance(opened.table, pa.Table)
    assert opened.table["key"].to_pylist() == [f"{i:09d}" for i in range(21)]


def made_up(folder, high, low):
    """An index without shards: uids of these halves, and in the other columns numbers that tell the row."""
    count = len(high)
    digits = np.stack([high, low], 1).astype(">u8").tobytes().hex()
    numbers = pa.array(np.arange(count))
    columns = {
        "uid": [digits[i : i + 32] for i in range(0, len(digits), 32)],
        **{name: numbers.cast(INDEX.field(name).type) for name in ("shard", "offset", "size", "label")},
    }
    folder.mkdir(exist_ok=True)
    for name, field in zip(INDEX.names, INDEX, strict=True):
        columns.setdefault(name, pa.nulls(count, field.type))
    pq.write_table(pa.table({name: columns[name] for name in INDEX.names}, INDEX), folder / "index.parquet")
    (folder / "classes.json").write_text("[]")
    return columns["uid"]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(0, 2)), max_size=40))
def test_rows_are_found_where_halves_of_uids_agree(drawn):
    """Oracle: the least of all rows with the uid, by rank, then row."""
    pairs, rank = [row[:2] for row in drawn], np.array([row[2] for row in drawn], np.uint8)
    high, low = (np.array([pair[i] for pair in pairs], np.uint64) for i in (0, 1))
    columns = {name: np.zeros(len(pairs), np.int64) for name in index.COPIED}
    columns |= {"high": high, "low": low, "place": np.zeros(len(pairs), np.uint32)}
    index._sort(columns, rank)
    opened = index.Index(columns)
    for row, (one, other) in enumerate(pairs):
        assert opened.uid(row) == f"{one:016x}{other:016x}"
    every = [(i, j) for i in range(5) for j in range(5)]
    found = opened.find(*(np.array([pair[i] for pair in every], np.uint64) for i in (0, 1)))
    rows = {pair: [(rank[row], row) for row, its in enumerate(pairs) if its == pair] for pair in every}
    assert found.tolist() == [min(rows[pair])[1] if rows[pair] else -1 for pair in every]


def test_a_million_rows_are_open_in_less_than_64_bytes_each(tmp_path, monkeypatch):
    """Index, rows, labels and uids of a version of all of them; and no more than twice that is ever in memory, texts not counted."""
    monkeypatch.setattr(index, "FOLDER", tmp_path / "kept")
    draw, count = np.random.default_rng(0), 1_000_000
    high, low = draw.integers(0, 2**64, (2, count), dtype=np.uint64)
    made_up(tmp_path / "pool", high, low)
    version = np.sort(np.rec.fromarrays([high, low], dtype=uids.DTYPE))
    for _ in range(2):
        tracemalloc.start()
        opened = Pool.open(tmp_path / "pool")
        data = opened_for(opened, version, 224, Run(cache_gb=0))
        held, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert opened.index.nbytes + data.pixels.rows.nbytes + data.labels.nbytes <= 64 * count
        assert held <= 64 * count
        assert peak <= 128 * count
        assert len(list((tmp_path / "kept").iterdir())) == 1
    some = draw.integers(0, count, 50)
    assert opened.rows([opened.index.uid(row) for row in some]).tolist() == some.tolist()
    assert [data.uids[i] for i in (0, count - 1)] == [f"{version[i][0]:016x}{version[i][1]:016x}" for i in (0, count - 1)]
    assert data.labels.tolist() == np.lexsort((low, high)).tolist()


def test_a_kept_index_is_made_again_for_another_one(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "FOLDER", tmp_path / "kept")
    monkeypatch.setattr(index, "KEPT", 3)
    for count in (5, 4):
        names = made_up(tmp_path / "pool", np.arange(count) + 7 * count, np.arange(count))
        for _ in range(2):
            opened = Pool.open(tmp_path / "pool")
            assert opened.rows(names).tolist() == opened.index.offset.tolist() == list(range(count))
            assert len(list((tmp_path / "kept").iterdir())) == 1


def test_an_index_of_no_uids_does_not_open(tmp_path):
    made_up(tmp_path / "pool", np.arange(3), np.arange(3))
    path = tmp_path / "pool" / "index.parquet"
    table = pq.ParquetFile(path).read()
    wrong = {
        "short": table.set_column(1, "uid", pa.array(["0" * 32, "0" * 31, "0" * 32])),
        "no hex": table.set_column(1, "uid", pa.array(["0" * 32, "x" * 32, "0" * 32])),
        "missing": table.drop_columns(["uid"]),
        "null": table.set_column(2, "shard", pa.array([1, None, 2], pa.int32())),
    }
    for name, one in wrong.items():
        pq.write_table(one, path)
        with pytest.raises(ValueError, match="no whole pool here") as caught:
            Pool.open(tmp_path / "pool")
        assert "\n" not in str(caught.value), name


def test_a_column_is_read_alone(tmp_path, examples):
    opened = write(tmp_path / "pool", examples)
    assert opened.column("caption", np.array([24, 0, 23])).to_pylist() == ["é ø 猫", "a photo of 0", None]


def test_of_equal_images_the_one_that_curation_trusts_is_read(tmp_path, examples):
    """The same bytes polluted, trusted and held out: a version and a split are lists of uids, and mean the label of the last."""
    image = images.measure(examples[0].image, 10_000)
    with PoolWriter(tmp_path, ["cat", "dog"]) as writer:
        for label, split, trusted in ((0, "train", False), (1, "train", True), (0, "train", False)):
            example = dataclasses.replace(examples[0], label=label, split=split)
            writer.add(example, image, trusted=trusted, dirt=None, source="a")
    assert Pool.open(tmp_path).rows([image.uid]).tolist() == [1]
    (tmp_path / "more").mkdir()
    with PoolWriter(tmp_path / "more", ["cat", "dog"]) as writer:
        for label, split, trusted in ((0, "train", True), (1, "train", True), (0, "test", False)):
            writer.add(dataclasses.replace(examples[0], label=label, split=split), image, trusted=trusted, dirt=None, source="a")
    assert Pool.open(tmp_path / "more").rows([image.uid]).tolist() == [2]
