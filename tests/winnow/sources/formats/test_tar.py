"""Fuzzing of the readers of shards: damaged files end in examples, counted losses, or one clear error."""

import contextlib
import io
import json
import tarfile
import tracemalloc

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzzing import BOUNDED, FEW, flipped
from tests.tars import tar_bytes
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.ingest.example import Example, Unreadable
from winnow.sources import webdataset

PEAK_BYTES = 16_000_000  # a header's limit is 1 MiB, read and decoded a few times over


def shard(format):
    """A valid tar of a few hundred bytes a member: long names, pax records, a link, labels, a json."""
    files = [("0.jpg", b"A" * 700), ("0.json", b'{"uid": "u", "caption": "c"}'), ("0.cls", b"1")]
    link = tarfile.TarInfo("1.jpg")
    link.type, link.linkname = tarfile.SYMTYPE, "l" * 150
    return tar_bytes(*files, ("é" * 120 + ".png", b"B"), link, format=format)


WHOLE = [shard(format) for format in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)]
BLOCKS = [data[start : start + 512] for data in WHOLE for start in range(0, len(data) - 10240 + 5120, 512)]
SIZES = [
    b"\xff" * 12,
    b"\x80" + b"\xff" * 11,
    b"77777777777\0",
    b"-0000000001\0",
    b"\x80" + bytes(8) + b"\x10\0\0",
    bytes(12),
]


def checksummed(block):
    block = bytearray(block)
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    return bytes(block)


@st.composite
def mutated(draw):
    """Flips, cuts, spliced blocks, and changed headers with valid checksums, which tarfile believes."""
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
    kept = [example.key for example in examples if not isinstance(example, Unreadable)]
    assert len(set(kept)) == len(kept)
    for example in examples:
        assert isinstance(example.image, bytes)
        assert 0 < len(example.key.encode()) < 1 << 20
        if isinstance(example, Unreadable):
            assert example.reason.encode()
            assert example.image == b""


@pytest.mark.slow
@BOUNDED
@given(mutated())
def test_any_shard_ends_in_examples_and_counted_losses(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    tracemalloc.start()
    try:
        check(list(webdataset.read(Dataset("webdataset", path=str(tmp_path)))))
        assert tracemalloc.get_traced_memory()[1] < PEAK_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@FEW
@given(st.binary(max_size=3000))
def test_any_bytes_are_a_counted_shard(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(data)
    found = list(webdataset.read(Dataset("webdataset", path=str(tmp_path))))
    check(found)
    assert len(found) >= (data[:512] != bytes(512))


ROWS = [
    {"key": "0", "uid": "u", "caption": "c", "status": "success"},
    {"key": "9", "uid": None, "caption": None, "status": "success"},
]


def parquet(rows):
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.mark.slow
@FEW
@given(flipped(parquet(ROWS)))
def test_any_parquet_beside_a_shard_ends_in_counted_losses(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(WHOLE[0])
    (tmp_path / "a.parquet").write_bytes(data)
    found = list(webdataset.read(Dataset("webdataset", path=str(tmp_path))))
    check(found)
    assert "a/0" in {example.key for example in found}


@FEW
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(st.none() | st.text() | st.floats(), st.lists, max_leaves=5)
        .map(json.dumps)
        .map(str.encode),
    )
)
def test_any_list_of_classes_is_one_clear_error(tmp_path, data):
    (tmp_path / "a.tar").write_bytes(WHOLE[0])
    (tmp_path / "classes.json").write_bytes(data)
    config = Dataset("webdataset", path=str(tmp_path))
    with contextlib.suppress(ParamsError):
        assert all(isinstance(name, str) for name in webdataset.classes(config))
