"""Several datasets as one pool, against a loop over their rows."""

import numpy as np
import pyarrow as pa
import pytest

from winnow.config.datasets import Dataset, Datasets, ReferenceSet, TaskSet
from winnow.ingest.writer import PoolWriter
from winnow.pipeline.workspace import Workspace
from winnow.pool import images
from winnow.pool.corruption import kinds_of_rows
from winnow.pool.parts import Origin
from winnow.pool.pool import Pool, open_all, open_pool, open_set

SHOP, MINE = ["cat", "dog"], ["emu", "dog"]


@pytest.fixture
def put(example):
    """A function: write examples of these numbers, with these labels, into a folder; number 3 is noise."""

    def make(folder, classes, labels, trusted=()):
        folder.mkdir(parents=True)
        with PoolWriter(folder, classes) as writer:
            for number, label in labels.items():
                one = example(number, label=label, caption=f"{folder.name} {number}")
                kind = "noise" if number == 3 else None
                image = images.measure(one.image, 10**6)
                writer.add(one, image, trusted=number in trusted, corruption=kind, source=one.key)
            writer.drop(f"torn of {folder.name}", "truncated")
        return folder

    return make


@pytest.fixture
def folders(tmp_path, put, small_shards):
    """`shop` has numbers 0 to 24, `mine` 20 to 31: the last five of shop are the first five of mine."""
    shop = put(tmp_path / "shop", SHOP, {n: n % 2 if n < 24 else None for n in range(25)}, trusted=(0, 10))
    mine = put(tmp_path / "mine", MINE, {n: n % 2 for n in range(20, 32)})
    return [shop, mine]


@pytest.fixture
def joined(folders):
    """Both as one pool; `mine` is trusted, and the second."""
    shop, mine = folders
    return Pool.join([Origin("shop", shop), Origin("mine", mine, trusted=True)])


def test_rows_are_those_of_the_first_then_those_of_the_second(joined, folders):
    """Every column, against the two tables; labels by their names."""
    apart = [Pool.open(folder) for folder in folders]
    assert joined.classes == ["cat", "dog", "emu"]
    rows = [(part, row) for part in apart for row in part.table.to_pylist()]
    assert len(joined) == len(rows) == 25 + 12
    shards = [0, 3]  # shards of ten images
    for row, (found, (part, one)) in enumerate(zip(joined.table.to_pylist(), rows, strict=True)):
        mine = part is apart[1]
        name = part.classes[one["label"]] if one["label"] >= 0 else None
        assert (joined.classes[found["label"]] if found["label"] >= 0 else None) == name
        assert joined.index.label[row] == found["label"]
        assert joined.index.shard[row] == found["shard"] == one["shard"] + shards[mine]
        expected = {
            "key": f"{('mine' if mine else 'shop')}/{one['key']}",
            "dataset": "mine" if mine else "shop",
            "trusted": mine or one["trusted"],
        }
        changed = ("label", "shard", *expected)
        assert {key: found[key] for key in expected} == expected
        same = [key for key in one if key not in changed]
        assert [found[key] for key in same] == [one[key] for key in same]
        assert joined.read(row) == part.read(row if not mine else row - 25)
        joined.verify(row)
        assert joined.index.uid(row) == one["uid"]


def test_of_equal_images_the_trusted_datasets_is_read(joined, folders):
    """Numbers 20 to 24 are in both; `mine` calls number 20 an emu, `shop` a cat."""
    uids = joined.table["uid"].to_pylist()
    expected = [row if row < 20 else row + 5 for row in range(25)] + list(range(25, 37))
    assert joined.rows(uids).tolist() == expected
    assert joined.classes[joined.index.label[joined.rows([uids[20]])[0]]] == "emu"
    shop, mine = folders
    neither = Pool.join([Origin("shop", shop), Origin("mine", mine)])
    assert neither.rows(uids).tolist() == [*range(25), *range(20, 25), *range(30, 37)]


def test_a_column_is_read_alone(joined):
    rows = np.array([36, 0, 24, 25])
    for name in ("label", "trusted", "shard", "caption", "key"):
        assert joined.column(name, rows).to_pylist() == joined.table[name].take(pa.array(rows)).to_pylist()


def test_each_row_is_of_its_dataset(joined, folders):
    assert joined.part_of(np.array([0, 24, 25, 36])).tolist() == [0, 0, 1, 1]
    assert [(part.start, part.rows, part.shard) for part in joined.parts] == [(0, 25, 0), (25, 12, 3)]
    assert joined.index_files == [folder / "index.parquet" for folder in folders]
    assert joined.folder == folders[0].parent
    again = Pool.join(joined.origins)
    assert again.table.equals(joined.table)
    assert again.digests == joined.digests
    assert len(set(joined.digests.values())) == 2


def test_records_are_of_all_datasets(joined, folders):
    """Number 3 is corrupted, and is in shop alone; a dropped example has the key of its source."""
    assert joined.records("corruption", ["key", "corruption"]).to_pylist() == [
        {"key": "shop/000000003", "corruption": "noise"}
    ]
    assert kinds_of_rows(joined).tolist() == [None, None, None, "noise", *[None] * 33]
    dropped = joined.records("dropped", ["key", "reason"])
    assert dropped["key"].to_pylist() == ["torn of shop", "torn of mine"]
    sources = dict(zip(joined.table["key"].to_pylist(), range(37), strict=True))
    assert [sources[key] for key in joined.records("sources", ["key"])["key"].to_pylist()] == list(range(37))
    for folder in folders:
        (folder / "corruption.parquet").unlink()
    assert joined.records("corruption", ["key", "corruption"]).num_rows == 0
    assert kinds_of_rows(joined).tolist() == [None] * 37


def test_a_damaged_image_names_the_shard_of_its_dataset(joined, folders):
    shard = folders[1] / "shards/shards-000000.tar"
    content = bytearray(shard.read_bytes())
    content[int(joined.index.offset[26]) + 20] ^= 1
    shard.write_bytes(content)
    joined.verify(25)
    with pytest.raises(ValueError, match=r"mine/shards/shards-000000\.tar: altered: row 26 "):
        joined.verify(26)


def test_one_dataset_is_itself(folders):
    """No name before its keys: what was ingested into one pool stays what it was."""
    alone, opened = Pool.join([Origin("other", folders[0])]), Pool.open(folders[0])
    assert alone.table.drop(["dataset"]).equals(opened.table.drop(["dataset"]))
    assert alone.table["dataset"].unique().to_pylist() == ["other"]
    assert (alone.alone, alone.folder) == (True, folders[0])
    trusted = Pool.join([Origin("shop", folders[0], trusted=True)])
    assert trusted.table["trusted"].to_pylist() == [True] * 25


def test_a_dataset_without_an_image_is_no_obstacle(tmp_path, put, folders):
    none = put(tmp_path / "none", ["cow"], {})
    joined = Pool.join([Origin(one.name, one) for one in (none, folders[1], none)])
    assert joined.classes == ["cow", "emu", "dog"]
    assert joined.table["key"].to_pylist() == [f"mine/{row:09d}" for row in range(12)]
    assert joined.read(11) == Pool.open(folders[1]).read(11)


@pytest.fixture
def workspace(tmp_path, put):
    """Pools a and b, reference r, a task set t of its own and one that is held out of b."""
    datasets = Datasets(
        pool={"a": Dataset("digits"), "b": Dataset("digits")},
        reference={
            "held": ReferenceSet(held_out_of="a", examples=1),
            "r": ReferenceSet("digits"),
        },
        tasks={"t": TaskSet("digits"), "u": TaskSet(held_out_of="b")},
    )
    found = Workspace(tmp_path)
    for first, (role, name) in enumerate([("pool", "a"), ("pool", "b"), ("reference", "r"), ("tasks", "t")]):
        folder = put(found.dataset(role, name), [f"of {name}"], {10 * first: 0, 10 * first + 1: 0})
        found.provenance(name).mkdir(parents=True)
        for record in ("dropped", "corruption", "sources"):
            (folder / f"{record}.parquet").rename(found.provenance(name) / f"{record}.parquet")
    return found, datasets


def test_a_pool_is_its_datasets_then_the_references(workspace):
    where, datasets = workspace
    pool = open_pool(where, datasets)
    assert [(part.name, part.trusted) for part in pool.parts] == [("a", False), ("b", False), ("r", True)]
    assert pool.records("dropped", ["key"]).num_rows == 3
    everything = open_all(where, datasets)
    assert [part.name for part in everything.parts] == ["a", "b", "r", "t"]
    assert everything.table.slice(0, 6)["uid"].equals(pool.table["uid"])


def test_a_task_set_is_a_pool_of_its_own(workspace):
    where, datasets = workspace
    own, held_out = (open_set(where, datasets, name) for name in ("t", "u"))
    assert (own.classes, own.folder) == (["of t"], where.dataset("tasks", "t"))
    assert (held_out.classes, held_out.folder) == (["of b"], where.dataset("pool", "b"))


def test_a_dataset_that_is_not_there_is_one_line(workspace):
    where, datasets = workspace
    (where.dataset("pool", "b") / "index.parquet").unlink()
    with pytest.raises(
        ValueError, match=r"pool/b: no complete pool here .*; make it with: dvc repro ingest@b$"
    ):
        open_pool(where, datasets)
