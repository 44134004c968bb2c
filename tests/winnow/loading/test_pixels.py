"""Pixels by index: the same for any number of threads, and for pictures whose bytes are gone."""

import io
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from winnow.loading import pixels as pixels_file
from winnow.loading import sampler
from winnow.loading.pixels import Pixels

COUNT = 60
ALL = np.arange(COUNT)


def pixels(opened, rows=ALL, cache_gb=0.0, threads=2, **more):
    return Pixels(opened, rows, 16, cache_gb, threads, **more)


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_are_those_of_pillow(stored, cache_gb, threads):
    """Expected: Pillow's own decoding, resizing and cropping, written out for a picture of 40 x 32."""
    asked = np.array([7, 59, 7, 0, 33, 20])
    given = pixels(stored, cache_gb=cache_gb, threads=threads)
    for _ in range(2):
        got = given.get(asked)
        assert got.is_contiguous()
        for index, one in zip(asked, got, strict=True):
            whole = Image.open(io.BytesIO(stored.read(index))).convert("RGB")
            expected = whole.resize((20, 16), Image.Resampling.BICUBIC).crop((2, 0, 18, 16))
            assert np.array_equal(one.numpy().transpose(1, 2, 0), np.asarray(expected))
    assert given.get_async(asked).result().equal(got)
    assert given.substituted_indices(asked).tolist() == asked.tolist()
    assert given.get(np.zeros(0, np.int64)).shape == (0, 3, 16, 16)


def test_the_cache_holds_what_fits_into_it(stored, damage):
    """A picture that is cached is not read again, so damage to its bytes does not matter."""
    size = COUNT * 3 * 16 * 16 / 1e9
    for cache_gb, lost in ((size, 0), (0.99 * size, 1)):
        given = pixels(stored, cache_gb=cache_gb)
        given.get(ALL)
        damage(stored, 4)
        given.get(ALL)
        assert len(given.lost) == lost
        damage(stored, 4)  # back


def test_a_view_is_any_rows_in_any_order(stored):
    rows = np.array([41, 3, 22])
    assert pixels(stored, rows).get(np.array([2, 0])).equal(pixels(stored).get(np.array([22, 41])))


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
def test_a_lost_picture_is_always_replaced_by_the_same_one(stored, damage, cache_gb, capfd):
    whole = pixels(stored).get(ALL)
    lost = [4, 25, 50]
    damage(stored, *lost)
    first = pixels(stored, cache_gb=cache_gb, threads=4)
    everything = first.get(ALL)
    substituted = first.substituted_indices(ALL)
    assert {i for i in range(COUNT) if substituted[i] != i} == set(lost)
    assert everything.equal(whole[torch.from_numpy(substituted)])
    assert not set(substituted.tolist()) & set(lost)
    assert first.lost == {stored.index.uid(row): "its bytes were altered" for row in lost}
    printed = capfd.readouterr().err.splitlines()
    assert sorted(line.split()[1].rstrip(":") for line in printed) == sorted(first.lost)
    first.get(np.array(lost))
    assert not capfd.readouterr().err
    for threads in (1, 2):  # in another order, in parts, by other threads
        again = pixels(stored, cache_gb=cache_gb, threads=threads)
        for part in np.array_split(np.random.default_rng(threads).permutation(COUNT), 7):
            assert again.get(part).equal(everything[torch.from_numpy(part)])
        assert again.substituted_indices(ALL).tolist() == substituted.tolist()
        assert again.lost == first.lost


@pytest.mark.slow
def test_lines_of_threads_do_not_run_together(stored, damage, monkeypatch):
    """print writes a line and its end one after the other: another thread may come between."""

    class Slow(io.StringIO):
        def write(self, text):
            written = super().write(text)
            time.sleep(0.05)  # for another thread to write, where one may
            return written

    monkeypatch.setattr(sys, "stderr", printed := Slow())
    damage(stored, *range(0, COUNT, 8))
    monkeypatch.setattr(pixels_file, "RUN", 1)
    pixels(stored, threads=8).get(ALL)
    lines = printed.getvalue().splitlines()
    assert len(lines) == 8
    assert all(line.startswith("lost ") and line.endswith(" stands in for it") for line in lines)


def test_pictures_of_a_truncated_and_of_a_missing_shard_are_lost(stored, monkeypatch):
    monkeypatch.setattr(pixels_file, "LOST_LEAST", 30)
    last = stored.folder / "shards/shards-000002.tar"
    last.write_bytes(last.read_bytes()[: stored.index.offset[45]])
    (stored.folder / "shards/shards-000000.tar").unlink()
    given = pixels(stored)
    with pytest.raises(ValueError, match="35 of 60 pictures read are lost, more than 1%"):
        given.get(ALL)
    reasons = list(given.lost.values())
    assert sum("no such shard" in reason for reason in reasons) == 20
    assert sum("ends early" in reason for reason in reasons) == 15


def test_too_many_lost_stop_the_run_in_one_line(stored, damage):
    damage(stored, *range(0, 18, 2))
    given = pixels(stored)
    given.get(np.arange(16))  # eight of them
    says = r"9 of 32 pictures read are lost, more than 1% \(uid .*altered\); run: dvc repro -f ingest"
    with pytest.raises(ValueError, match=says) as caught:
        given.get(np.arange(16, 32))
    assert "\n" not in str(caught.value)


def test_nothing_left_stops_the_run(stored, damage):
    damage(stored, 5)
    with pytest.raises(ValueError, match=f"uid {stored.index.uid(5)} is lost .*and so are 16 others"):
        pixels(stored, np.array([5])).get(np.array([0]))


def test_a_resumed_run_replaces_and_counts_as_an_unbroken_one(stored, damage):
    damage(stored, 4, 25, 50)
    steps = [sampler.candidates(step, 10, COUNT, 0) for step in range(12)]
    unbroken = pixels(stored)
    expected = [unbroken.get(step) for step in steps]
    before = pixels(stored)
    for step in steps[:5]:
        before.get(step)
    after = pixels(stored)
    after.restore(before.state())
    for step, images in zip(steps[5:], expected[5:], strict=True):
        assert after.get(step).equal(images)
    assert after.state() == unbroken.state()


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_together_decode_what_one_process_does(stored, ranks):
    whole = pixels(stored).get(sampler.candidates(3, 12, COUNT, 0))
    parts = [pixels(stored).get(sampler.candidates(3, 12, COUNT, 0, rank, ranks)) for rank in range(ranks)]
    together = torch.empty_like(whole)
    for rank, part in enumerate(parts):
        together[rank::ranks] = part
    assert together.equal(whole)


@pytest.mark.parametrize("fast", [False, True])
def test_memory_format_is_what_it_says(stored, fast):
    given = pixels(stored, cache_gb=1.0, fast=fast).get(np.arange(4))
    assert given.is_contiguous(memory_format=torch.channels_last if fast else torch.contiguous_format)
