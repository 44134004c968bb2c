"""Pixels by index: the same for any number of threads, and what happens when the bytes of a picture are gone."""

import io
import shutil
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image

from stages.data import images, loader, order, pool_writer
from stages.data import uids as uid_files
from stages.data.loader import Pixels, square, square_fast
from stages.data.pool import Pool
from stages.data.pool_writer import PoolWriter
from stages.params import Run, View
from stages.sources import Example
from stages.training.examples import examples

COUNT = 60


def picture(number, size=(40, 32), kind="PNG"):
    """Smooth colours, as a photograph has: waves of a few periods, different in each channel."""
    draw = np.random.default_rng(number)
    y, x = np.mgrid[: size[1], : size[0]] / 32
    waves = [np.sin(x * draw.uniform(2, 9) + y * draw.uniform(2, 9) + draw.uniform(0, 6)) for _ in range(3)]
    buffer = io.BytesIO()
    Image.fromarray(np.uint8(127 + 120 * np.stack(waves, -1))).save(buffer, kind, quality=90)
    return buffer.getvalue()


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A pool of 60 pictures in shards of 20, labels 0 to 59, jpg and png in turn."""
    monkeypatch.setattr(pool_writer, "MAX_COUNT", 20)
    folder = tmp_path / "pool"
    folder.mkdir()
    with PoolWriter(folder, [str(i) for i in range(COUNT)]) as writer:
        for number in range(COUNT):
            data = picture(number, kind=("JPEG", "PNG")[number % 2])
            writer.add(Example(str(number), data, label=number), images.measure(data, 10**6), trusted=False, dirt=None, source="")
    return Pool.open(folder)


def damage(opened, *rows):
    """Turn one byte in the middle of each of these images, in the tar itself."""
    for row in rows:
        path = opened.folder / f"shards/shards-{opened.index.shard[row]:06d}.tar"
        content = bytearray(path.read_bytes())
        content[opened.index.offset[row] + opened.index.size[row] // 2] ^= 0xFF
        path.write_bytes(content)


def pixels(opened, rows=None, cache_gb=0.0, threads=2, **more):
    return Pixels(opened, np.arange(COUNT) if rows is None else rows, 16, cache_gb, threads, **more)


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
@pytest.mark.parametrize("threads", [1, 4])
def test_pictures_are_those_of_pillow(stored, cache_gb, threads):
    """Expected: Pillow's own decoding, resizing and cutting, written out for a picture of 40 x 32."""
    asked = np.array([7, 59, 7, 0, 33, 20])
    given = pixels(stored, cache_gb=cache_gb, threads=threads)
    for _ in range(2):
        got = given.get(asked)
        assert got.is_contiguous()
        for index, one in zip(asked, got, strict=True):
            whole = Image.open(io.BytesIO(stored.read(index))).convert("RGB")
            wanted = whole.resize((20, 16), Image.Resampling.BICUBIC).crop((2, 0, 18, 16))
            assert np.array_equal(one.numpy().transpose(1, 2, 0), np.asarray(wanted))
    assert given.ahead(asked).result().equal(got)
    assert given.seen(asked).tolist() == asked.tolist()
    assert given.get(np.zeros(0, np.int64)).shape == (0, 3, 16, 16)


def test_a_view_is_any_rows_in_any_order(stored):
    rows = np.array([41, 3, 22])
    assert pixels(stored, rows).get(np.array([2, 0])).equal(pixels(stored).get(np.array([22, 41])))


@pytest.mark.parametrize("cache_gb", [0.0, 1.0])
def test_a_lost_picture_is_replaced_by_the_same_one_always(stored, cache_gb, capfd):
    whole = pixels(stored).get(np.arange(COUNT))
    lost = [4, 25, 50]
    damage(stored, *lost)
    first = pixels(stored, cache_gb=cache_gb, threads=4)
    everything = first.get(np.arange(COUNT))
    seen = first.seen(np.arange(COUNT))
    assert {i for i in range(COUNT) if seen[i] != i} == set(lost)
    assert everything.equal(whole[torch.from_numpy(seen)])
    assert not set(seen.tolist()) & set(lost)
    assert first.lost == {stored.index.uid(row): "its bytes were altered" for row in lost}
    said = capfd.readouterr().err.splitlines()
    assert sorted(line.split()[1].rstrip(":") for line in said) == sorted(first.lost)
    first.get(np.array(lost))
    assert not capfd.readouterr().err
    for threads in (1, 2):  # asked in another order, in parts, by other threads
        again = pixels(stored, cache_gb=cache_gb, threads=threads)
        for part in np.array_split(np.random.default_rng(threads).permutation(COUNT), 7):
            assert again.get(part).equal(everything[torch.from_numpy(part)])
        assert again.seen(np.arange(COUNT)).tolist() == seen.tolist()
        assert again.lost == first.lost


def test_lines_of_threads_do_not_run_together(stored, monkeypatch):
    """print writes a line and its end one after the other: another thread may come between."""

    class Slow(io.StringIO):
        def write(self, text):
            written = super().write(text)
            time.sleep(0.05)  # time for another thread to write, where one may
            return written

    monkeypatch.setattr(sys, "stderr", said := Slow())
    damage(stored, *range(0, COUNT, 8))
    monkeypatch.setattr(loader, "RUN", 1)
    pixels(stored, threads=8).get(np.arange(COUNT))
    lines = said.getvalue().splitlines()
    assert len(lines) == 8
    assert all(line.startswith("lost ") and line.endswith(" stands in for it") for line in lines)


def test_label_and_trace_follow_the_stand_in(stored):
    damage(stored, 4)
    data = examples(stored, [stored.index.uid(row) for row in range(COUNT)], 16, Run(cache_gb=0))
    asked = np.array([3, 4])
    batch = data.batch(asked, data.pixels.get(asked), {"image": View()}, torch.Generator(), torch.device("cpu"))
    assert batch.labels[0] == 3
    assert batch.labels[1] == data.pixels.seen(asked)[1] != 4
    assert batch.views["image"][0][1].equal(
        data.batch(asked, data.pixels.get(data.pixels.seen(asked)), {"image": View()}, torch.Generator(), torch.device("cpu"))
        .views["image"][0][1]
    )  # fmt: skip


def test_a_shard_cut_short_and_a_shard_gone_are_lost_pictures(stored, monkeypatch):
    monkeypatch.setattr(loader, "LOST_LEAST", 30)
    last = stored.folder / "shards/shards-000002.tar"
    last.write_bytes(last.read_bytes()[: stored.index.offset[45]])
    (stored.folder / "shards/shards-000000.tar").unlink()
    given = pixels(stored)
    with pytest.raises(ValueError, match="35 of 60 pictures read are lost, more than 1%"):
        given.get(np.arange(COUNT))
    reasons = list(given.lost.values())
    assert sum("no such shard" in reason for reason in reasons) == 20
    assert sum("ends early" in reason for reason in reasons) == 15


def test_too_many_lost_stop_the_run_in_one_line(stored):
    damage(stored, *range(0, 18, 2))
    given = pixels(stored)
    given.get(np.arange(16))  # eight of them
    with pytest.raises(ValueError, match=r"9 of 32 pictures read are lost, more than 1% \(uid .*altered\); run: dvc repro") as caught:
        given.get(np.arange(16, 32))
    assert "\n" not in str(caught.value)


def test_nothing_left_stops_the_run(stored):
    damage(stored, 5)
    with pytest.raises(ValueError, match=f"uid {stored.index.uid(5)} is lost .*and so are 16 others"):
        pixels(stored, np.array([5])).get(np.array([0]))


def test_a_resumed_run_replaces_and_counts_as_if_it_had_gone_on(stored):
    damage(stored, 4, 25, 50)
    steps = [order.candidates(step, 10, COUNT, 0) for step in range(12)]
    through = pixels(stored)
    wanted = [through.get(step) for step in steps]
    before = pixels(stored)
    for step in steps[:5]:
        before.get(step)
    after = pixels(stored)
    after.restore(before.state())
    for step, images_ in zip(steps[5:], wanted[5:], strict=True):
        assert after.get(step).equal(images_)
    assert after.state() == through.state()


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_together_decode_what_one_process_does(stored, ranks):
    whole = pixels(stored).get(order.candidates(3, 12, COUNT, 0))
    parts = [pixels(stored).get(order.candidates(3, 12, COUNT, 0, rank, ranks)) for rank in range(ranks)]
    together = torch.empty_like(whole)
    for rank, part in enumerate(parts):
        together[rank::ranks] = part
    assert together.equal(whole)


@pytest.mark.parametrize(("size", "scaled"), [(128, (128, 160)), (112, (112, 140)), (100, (112, 140)), (32, (32, 40)), (16, (16, 20))])
def test_a_jpg_comes_in_the_fewest_eighths_that_are_enough(size, scaled):
    """128 x 160 pixels in eighths: 16 x 20 each."""
    data = picture(1, (160, 128), "JPEG")
    assert images.decode_scaled(data, size).shape == (*scaled, 3)
    if size == 128:
        assert np.array_equal(images.decode_scaled(data, size), np.asarray(images.decode(data)))
    exact, fast = (square(images.decode(data), size), square_fast(images.decode_scaled(data, size), size))
    assert exact.shape == fast.shape == (3, size, size)
    assert np.abs(exact.astype(int) - fast).mean() < 4  # another picture is 80 levels away


@pytest.mark.parametrize("size", [32, 16, 24, 64])
def test_fast_pictures_of_png_differ_by_rounding_only(size):
    data = picture(1)
    difference = np.abs(square(images.decode(data), size).astype(int) - square_fast(images.decode_scaled(data, size), size))
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.05


def test_fast_reads_grey_and_webp_and_what_pillow_alone_knows():
    for mode, kind in (("L", "JPEG"), ("L", "PNG"), ("RGB", "WEBP")):
        buffer = io.BytesIO()
        Image.open(io.BytesIO(picture(2))).convert(mode).save(buffer, kind)
        exact = np.asarray(images.decode(buffer.getvalue()))
        assert np.array_equal(images.decode_scaled(buffer.getvalue(), 32), exact)
    with pytest.raises(OSError, match="cannot identify"):
        images.decode_scaled(b"\xff\xd8\xff no picture", 32)


def test_an_array_of_uids_opens_the_same_examples(stored, tmp_path):
    names = sorted(stored.index.uid(row) for row in range(0, COUNT, 3))
    uid_files.save(tmp_path / "uids.npy", names)
    ones, others = (examples(stored, wanted, 16, Run()) for wanted in (names, np.load(tmp_path / "uids.npy", mmap_mode="r")))
    assert list(ones.uids) == list(others.uids) == names
    assert ones.uids == names
    assert names == others.uids
    assert ones.labels.equal(others.labels)
    assert [int(label) % 3 for label in ones.labels] == [0] * len(names)
    assert list(ones.uids[2:5]) == names[2:5]
    assert ones.uids[-1] == names[-1]
    assert ones.uids != names[:-1]


def test_a_killed_run_over_a_damaged_pool_ends_with_the_same_bytes(digits_pool, digits_params, recipe, tmp_path):
    from stages.training.build import build, open_for
    from stages.training.checkpoint import Checkpoint
    from stages.training.device import launch
    from stages.training.loop import Loop
    from stages.training.selection import UNIFORM, Selector

    shutil.copytree(digits_pool.folder, tmp_path / "pool")
    opened = Pool.open(tmp_path / "pool")
    names = sorted({digits_pool.index.uid(row) for row in range(100)})
    order_ = order.candidates(0, 8, len(names), 0), order.candidates(3, 8, len(names), 0)
    damage(opened, *(int(opened.rows([names[indices[2]]])[0]) for indices in order_))

    def run(steps, checkpoint=None):
        data = open_for(digits_params, "supervised", "test_resnet", opened, names)
        objective = build(digits_params, "supervised", "test_resnet", data.classes, 0)
        loop = Loop(launch(Run(threads=1)), objective, data, recipe(), Selector(UNIFORM, recipe(), data, None, 0), 6, 0)
        loop.steps = steps
        loop.run(checkpoint=checkpoint)
        return loop

    checkpoint = Checkpoint("test", 0.0)
    checkpoint.path = tmp_path / "test.pt"
    whole, _, resumed = run(6), run(2, checkpoint), run(6, checkpoint)
    assert len(resumed.data.pixels.lost) == 2
    assert resumed.data.pixels.lost == whole.data.pixels.lost
    assert resumed.state.column("index").equal(whole.state.column("index"))
    assert not {names[i] for i in whole.state.column("index")} & set(whole.data.pixels.lost)
    assert all(torch.equal(a, b) for a, b in zip(whole.objective.parameters(), resumed.objective.parameters(), strict=True))
