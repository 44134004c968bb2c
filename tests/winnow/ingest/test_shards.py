"""webdataset's own writer is the oracle: the same samples give the same tars, to the byte."""

import numpy as np
import pytest

from winnow.ingest.shards import Shards


def samples(count):
    draw = np.random.default_rng(0)
    for number in range(count):
        sizes = {"jpg": int(draw.integers(0, 3000)), "json": 512, "txt": int(draw.integers(1, 40))}
        yield (
            f"{number:09d}",
            {ext: draw.bytes(size) for ext, size in sizes.items() if ext != "txt" or number % 3},
        )


@pytest.mark.parametrize(
    ("count", "max_count", "max_bytes"), [(0, 5, 1e9), (25, 10, 1e9), (20, 10, 1e9), (60, 1000, 20_000)]
)
def test_shards_are_those_that_webdataset_writes(tmp_path, count, max_count, max_bytes):
    from webdataset.writer import ShardWriter

    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    full = []
    ours = Shards(str(tmp_path / "ours" / "%06d.tar"), max_count, max_bytes, 0, full.append)
    theirs = ShardWriter(
        str(tmp_path / "theirs" / "%06d.tar"), max_count, max_bytes, verbose=0, mtime=0, encoder=False
    )
    for key, members in samples(count):
        shard, offsets = ours.write(key, members)
        theirs.write({"__key__": key, **members})
        assert set(offsets) == set(members)
        assert shard == theirs.shard - 1
    ours.close()
    theirs.close()
    made = sorted((tmp_path / "theirs").iterdir())
    assert [path.name for path in sorted((tmp_path / "ours").iterdir())] == [path.name for path in made]
    for path in made:
        assert (tmp_path / "ours" / path.name).read_bytes() == path.read_bytes()
    assert full == [tmp_path / "ours" / path.name for path in made[:-1]]


def test_offsets_are_where_the_data_begin(tmp_path):
    shards = Shards(str(tmp_path / "%06d.tar"), 7, 1e9, 3, lambda path: None)
    placed = [(shards.write(key, members), members) for key, members in samples(20)]
    shards.close()
    assert {shard for (shard, _), _ in placed} == {3, 4, 5}
    for (shard, offsets), members in placed:
        content = (tmp_path / f"{shard:06d}.tar").read_bytes()
        for ext, data in members.items():
            assert content[offsets[ext] : offsets[ext] + len(data)] == data
