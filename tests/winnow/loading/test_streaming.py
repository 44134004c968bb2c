"""Shards read sequentially: every sample once, in an order that resumes anywhere."""

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tars import write_tar
from winnow.loading.streaming import Place, Stream, read

SIZES = (5, 1, 0, 7, 4, 3, 6)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    for shard, size in enumerate(SIZES):
        keys = [f"{shard}-{number}" for number in range(size)]
        members = [one for key in keys for one in ((f"{key}.cls", b"1"), (f"{key}.png", key.encode()))]
        write_tar(folder / f"{shard}.tar", *members)
    return [str(folder / f"{shard}.tar") for shard in range(len(SIZES))]


def keys(stream, place=None):
    return [(place, sample["__key__"]) for place, sample in stream.samples(place)]


@pytest.mark.slow
@given(st.integers(0, 5), st.integers(0, 3), st.integers(1, 30), st.integers(1, len(SIZES)))
@settings(max_examples=25, deadline=None)
def test_an_epoch_holds_each_sample_once_and_resumes_anywhere(shards, seed, epoch, block, readers):
    everything = []
    for reader in range(readers):
        stream = Stream(shards, seed, block, reader, readers)
        seen = keys(stream, Place(epoch))
        everything += [key for _, key in seen]
        for at in range(len(seen)):
            assert keys(stream, seen[at][0]) == seen[at + 1 :]
    expected = [f"{shard}-{number}" for shard, size in enumerate(SIZES) for number in range(size)]
    assert sorted(everything) == sorted(expected)


def test_samples_are_mixed_within_a_block_and_no_further(shards):
    plain = [key for _, key in keys(Stream(shards, 0, block=1))]
    mixed = [key for _, key in keys(Stream(shards, 0, block=8))]
    assert mixed != plain
    for start in range(0, len(plain), 8):
        assert sorted(mixed[start : start + 8]) == sorted(plain[start : start + 8])


def test_epochs_and_seeds_differ_and_repeat(shards):
    places = ((0, 0), (0, 1), (1, 0), (0, 0))
    orders = [[key for _, key in keys(Stream(shards, seed), Place(epoch))] for seed, epoch in places]
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_members_come_as_webdataset_names_them(shards):
    sample = next(read(shards[0]))
    assert (sample["__key__"], sample["png"], sample["cls"]) == ("0-0", b"0-0", b"1")


@pytest.mark.slow
def test_shards_over_http_are_the_same(shards, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = shards[0].rsplit("/", 1)[0]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            remote = [f"http://127.0.0.1:{server.server_port}/{shard}.tar" for shard in range(len(SIZES))]
            assert [k for _, k in keys(Stream(remote, 0))] == [k for _, k in keys(Stream(shards, 0))]
            with pytest.raises(ValueError, match=r"9\.tar: no whole shard"):
                list(read(remote[0].replace("0.tar", "9.tar")))
        finally:
            server.shutdown()
            thread.join()


def test_mistakes_are_one_line(shards, tmp_path):
    with pytest.raises(ValueError, match="7 are too few for 8 readers"):
        Stream(shards, 0, readers=8)
    with open(shards[3], "rb") as file:
        (tmp_path / "cut.tar").write_bytes(file.read()[:1700])
    for name in ("cut.tar", "none.tar"):
        with pytest.raises(ValueError, match=f"{name}: no whole shard") as caught:
            list(read(str(tmp_path / name)))
        assert "\n" not in str(caught.value)
