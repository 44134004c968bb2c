"""Fuzzing of the readers: whatever is done to a valid file, a reader ends with examples, counted losses, or one clear error."""

import contextlib
import io
import json
import tarfile
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stages.data.pool import Pool
from stages.ingest import ingest_source
from stages.params import Dataset, ParamsError
from stages.sources import Example, webdataset
from stages.sources._lost import Lost

BOUNDED = settings(
    max_examples=250, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FEW = settings(BOUNDED, max_examples=120)
PEAK_BYTES = 16_000_000  # a header's limit is 1 MiB, read and decoded a few times over


LONG = "é" * 120 + ".png"


def shard(format):
    """A valid tar of a few hundred bytes a member: long names, pax records, a link, labels, a json."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in [
            ("0.jpg", b"A" * 700),
            ("0.json", b'{"uid": "u", "caption": "c"}'),
            ("0.cls", b"1"),
            ("é" * 120 + ".png", b"B"),
        ]:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("1.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "l" * 150
        tar.addfile(link)
    return buffer.getvalue()


WHOLE = [shard(format) for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT)[:2]]
BLOCKS = [data[start : start + 512] for data in WHOLE for start in range(0, len(data) - 10240 + 5120, 512)]
SIZES = [b"\xff" * 12, b"\x80" + b"\xff" * 11, b"77777777777\0", b"-0000000001\0", b"\x80" + bytes(8) + b"\x10\0\0", bytes(12)]


def checksummed(block):
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@st.composite
def mutated(draw):
    """Flips, cuts, spliced blocks, and headers changed with their checksum made right again, so that tarfile believes them."""
    data = bytearray(draw(st.sampled_from(WHOLE)))
    for _ in range(draw(st.integers(1, 4))):
        if not data:
            break
        kind = draw(st.sampled_from(["flip", "cut", "splice", "drop", "type", "size", "bytes"]))
        place = draw(st.integers(0, len(data) - 1))
        block = place // 512 * 512
        if kind == "flip":
            data[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "cut":
            del data[place:]
        elif kind == "splice":
            data[block:block] = draw(st.sampled_from(BLOCKS))
        elif kind == "drop":
            del data[block : block + 512]
        elif kind == "bytes":
            data[place : place + 8] = draw(st.binary(min_size=1, max_size=16))
        else:
            header = bytearray(data[block : block + 512].ljust(512, b"\0"))
            if kind == "type":
                header[156] = draw(st.sampled_from(list(b"01234567LKSxgXVMD\0\xff")))
            else:
                header[124:136] = draw(st.sampled_from(SIZES))
            data[block : block + 512] = checksummed(header)
    return bytes(data)


def check(examples):
    """The contract of every source, whatever it reads."""
    assert all(isinstance(example, Example) for example in examples)
    kept = [example.key for example in examples if not isinstance(example, Lost)]
    assert len(set(kept)) == len(kept)
    assert all(isinstance(example.image, bytes) and example.key.encode() and len(example.key) < 1 << 20 for example in examples)
    assert all(example.reason.encode() and example.image == b"" for example in examples if isinstance(example, Lost))


@BOUNDED
@given(mutated())
def test_any_shard_ends_in_examples_and_counted_losses(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    tracemalloc.start()
    try:
        check(list(webdataset.read(Dataset(source="webdataset", path=str(tmp_path)))))
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()


@FEW
@given(st.binary(max_size=3000))
def test_any_bytes_are_a_counted_shard(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    found = list(webdataset.read(Dataset(source="webdataset", path=str(tmp_path))))
    check(found)
    assert len(found) >= (data[:512] != bytes(512))


ROWS = [{"key": "0", "uid": "u", "caption": "c", "status": "success"}, {"key": "9", "uid": None, "caption": None, "status": "success"}]


def flipped(whole):
    """Flips and cuts of a file; the footer of a parquet is drawn as often as its pages."""
    place = st.one_of(st.integers(0, len(whole) - 1), st.integers(max(0, len(whole) - 700), len(whole) - 1))

    def mutate(edits, cut):
        data = bytearray(whole)
        for at, value in edits:
            data[at] = value
        return bytes(data[:cut] if cut is not None else data)

    return st.builds(mutate, st.lists(st.tuples(place, st.integers(0, 255)), max_size=6), st.one_of(st.none(), place))


def parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@FEW
@given(flipped(parquet(ROWS)))
def test_any_parquet_beside_a_shard_ends_in_counted_losses(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(WHOLE[0])
    (tmp_path / "a.parquet").write_bytes(data)
    found = list(webdataset.read(Dataset(source="webdataset", path=str(tmp_path))))
    check(found)
    assert "a/0" in {example.key for example in found}


@FEW
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(st.none() | st.text() | st.floats(), st.lists, max_leaves=5).map(json.dumps).map(str.encode),
    )
)
def test_any_list_of_classes_is_one_clear_error(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(WHOLE[0])
    (tmp_path / "classes.json").write_bytes(data)
    config = Dataset(source="webdataset", path=str(tmp_path))
    with contextlib.suppress(ParamsError):
        assert all(isinstance(name, str) for name in webdataset.classes(config))


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """A real small pool of eight pictures, and the bytes of its index and shard."""
    root = tmp_path_factory.mktemp("pool")
    for number in range(8):
        noise = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        (root / "in" / "c").mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(root / "in" / "c" / f"{number}.png")
    (root / "out").mkdir()
    ingest_source(Dataset(source="folder", path=str(root / "in")), 0, root / "out", lambda items, **_: items)
    return root / "out", (root / "out/index.parquet").read_bytes(), (root / "out/shards/shards-000000.tar").read_bytes()


def use(folder):
    """Open, look up, read and verify every row, as training does."""
    pool = Pool.open(folder)
    uids = pool.table["uid"].to_pylist()
    for row in pool.rows([uid for uid in uids if uid]).tolist():
        pool.verify(row)


@pytest.mark.parametrize("part", ["index", "shard"])
def test_any_pool_opens_and_reads_or_says_why_not(pool, part):
    folder, index, tar = pool
    path = folder / ("index.parquet" if part == "index" else "shards/shards-000000.tar")
    whole = index if part == "index" else tar
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
