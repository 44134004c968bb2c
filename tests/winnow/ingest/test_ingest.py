"""Ingest of whole sources: counts, corruption, order, and what happens to images that fail."""

import json
import tarfile
import zlib
from collections import Counter

import pytest

from tests.pictures import noise
from tests.pools import digests, ingest, silent, table
from tests.tars import write_tar
from winnow.config.datasets import Corruption, Dataset
from winnow.ingest import corruption
from winnow.ingest import ingest as module
from winnow.ingest.example import Example
from winnow.ingest.ingest import ingest_source
from winnow.pool import images
from winnow.sources import digits

KINDS = Corruption(
    wrong_label=0.4, noise=0.07, permuted=0.07, blank=0.02, exact_duplicate=0.03, near_duplicate=0.03
)


def encoded(kind, mode="RGB", size=(20, 20)):
    return noise(zlib.crc32(f"{kind}{mode}{size}".encode()), size, kind, mode)


GOOD = {
    "a.jpg": encoded("JPEG"),
    "really a png.jpg": encoded("PNG"),
    "webp": encoded("WEBP"),
    "cmyk.jpg": encoded("JPEG", "CMYK"),
    "alpha.png": encoded("PNG", "RGBA"),
    "one pixel.png": encoded("PNG", size=(1, 1)),
    "wide.png": encoded("PNG", size=(2, 900)),
    "scan.tif": encoded("TIFF"),
}
BAD = {
    "empty.png": (b"", "empty"),
    "cut.jpg": (encoded("JPEG")[:-300], "truncated"),
    "cut.png": (encoded("PNG")[:-300], "truncated"),
    "text.jpg": (b"404 not found", "not_an_image"),
    ".DS_Store": (b"\0\0\0\1Bud1", "not_an_image"),
    "large.png": (encoded("PNG", size=(200, 200)), "too_many_pixels"),
}


def mess(root):
    """A folder with GOOD and BAD in two classes, a broken link, and a README beside them."""
    for name, data in {**GOOD, **{name: data for name, (data, _) in BAD.items()}}.items():
        for group in ("cat", "dog"):
            (root / group).mkdir(parents=True, exist_ok=True)
            (root / group / name).write_bytes(data)
    (root / "dog" / "gone.jpg").symlink_to(root / "nowhere")
    (root / "README.md").write_text("hello")
    return root


def test_a_messy_folder_is_counted_to_the_last_file(tmp_path):
    path = mess(tmp_path / "mess")
    counts, pool = ingest(tmp_path / "pool", Dataset("folder", path=str(path), max_pixels=10_000))
    assert counts["found"] == sum(1 for p in path.rglob("*") if not p.is_dir()) == 30
    assert counts["ingested"] + counts["dropped"] == counts["found"]
    assert counts["ingested"] == len(pool) == 2 * len(GOOD)
    reasons = Counter(row["reason"] for row in table(tmp_path / "pool", "dropped"))
    expected = Counter(reason for _, reason in BAD.values() for _ in range(2))
    expected.update(["unreadable_file_FileNotFoundError", "not_an_image"])
    assert reasons == expected
    assert {k.removeprefix("dropped_"): v for k, v in counts.items() if k.startswith("dropped_")} == expected
    assert set(pool.table["ext"].to_pylist()) == {"jpg", "png", "webp"}
    converted = Counter(pool.table["converted"].to_pylist())
    assert converted == {None: 10, "cmyk": 2, "transparency": 2, "tiff": 2}
    for row in range(len(pool)):
        pool.verify(row)


def test_a_messy_tar_is_counted_too(tmp_path):
    contents = [*GOOD.values(), *(data for data, _ in BAD.values())]
    numbered = [(f"{n:05d}", data) for n, data in enumerate(contents)]
    members = [one for key, data in numbered for one in ((f"{key}.jpg", data), (f"{key}.txt", b"words"))]
    whole = write_tar(tmp_path / "shards" / "00000.tar", *members).read_bytes()
    (tmp_path / "shards" / "00001.tar").write_bytes(whole[: len(whole) // 2])
    dataset = Dataset("webdataset", path=str(tmp_path / "shards"), max_pixels=10_000)
    counts, pool = ingest(tmp_path / "pool", dataset)
    assert counts["ingested"] + counts["dropped"] == counts["found"]
    assert counts["dropped_damaged_shard_00001.tar"] == 1
    assert counts["dropped_truncated"] >= 2
    assert len(pool) == counts["ingested"] > len(GOOD)
    assert set(pool.table["caption"].to_pylist()) == {"words"}


@pytest.mark.slow
def test_same_seed_same_bytes_and_another_seed_others(tmp_path):
    dataset = Dataset("digits", trusted=0.4, corruption=KINDS, limit=300)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        ingest(tmp_path / name, dataset, seed)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a")["index.parquet"] != digests(tmp_path / "c")["index.parquet"]


@pytest.mark.slow
def test_helper_processes_change_nothing(tmp_path, monkeypatch):
    dataset = Dataset("digits", trusted=0.4, corruption=KINDS)
    alone, _ = ingest(tmp_path / "alone", dataset)
    monkeypatch.setattr(module, "ALONE_CHUNKS", 1)
    helped, _ = ingest(tmp_path / "helped", dataset)
    assert alone == helped
    assert digests(tmp_path / "alone") == digests(tmp_path / "helped")


@pytest.mark.slow
def test_a_dask_cluster_changes_nothing(tmp_path):
    pytest.importorskip("distributed")
    dataset = Dataset("digits", trusted=0.4, corruption=KINDS, limit=300)
    ingest(tmp_path / "alone", dataset)
    ingest(tmp_path / "cluster", dataset, cluster="local")
    assert digests(tmp_path / "alone") == digests(tmp_path / "cluster")


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory):
    """The folder, the counts and the pool of corrupted digits."""
    folder = tmp_path_factory.mktemp("corrupted")
    return folder, *ingest(folder, Dataset("digits", trusted=0.4, corruption=KINDS))


def test_corruption_is_where_it_may_be_and_nowhere_else(corrupted):
    folder, counts, pool = corrupted
    index = {row["key"]: row for row in pool.table.to_pylist()}
    kinds = {row["key"]: row["corruption"] for row in table(folder, "corruption")}
    assert set(kinds.values()) == set(KINDS.__dataclass_fields__)
    assert all(index[key]["split"] == "train" and not index[key]["trusted"] for key in kinds)
    assert counts["found"] == 1797 + counts["copies"] == len(pool)
    assert counts["copies"] == sum(kind.endswith("_duplicate") for kind in kinds.values())
    trusted = sum(row["trusted"] for row in index.values())
    # binomial(1437, 0.4) has a standard deviation of 18.6
    assert trusted == pytest.approx(0.4 * 1437, abs=4 * 18.6)
    assert "corruption" not in pool.table.column_names
    assert not any("corrupt" in name for name in counts)


def test_clean_examples_are_those_of_the_source(corrupted):
    folder, _, pool = corrupted
    sources = {example.key: example for example in digits.read(Dataset())}
    kinds = {row["key"]: row["corruption"] for row in table(folder, "corruption")}
    with tarfile.open(folder / "shards" / "shards-000000.tar") as tar:
        members = [member for member in tar.getmembers() if member.name.endswith(".json")]
        facts = {member.name[:9]: json.load(tar.extractfile(member)) for member in members}
    seen = set()
    for number, row in enumerate(pool.table.to_pylist()):
        source = sources[facts[row["key"]]["source"]]
        kind = kinds.get(row["key"])
        seen.add(source.key)
        assert (pool.read(number) == source.image) == (kind in (None, "wrong_label", "exact_duplicate"))
        assert (row["label"] == source.label) == (kind != "wrong_label")
        assert row["caption"] == f"a photo of the digit {pool.classes[row['label']]}"
        assert (row["std"] == 0) == (kind == "blank")
    assert seen == set(sources)


def test_neither_index_nor_shards_tell_a_copy(corrupted):
    folder, _, pool = corrupted
    assert pool.table["key"].to_pylist() == [f"{i:09d}" for i in range(len(pool))]
    content = (folder / "shards" / "shards-000000.tar").read_bytes()
    assert b"-copy" not in content
    assert b"-near" not in content


def test_an_exact_copy_shares_the_uid_and_the_original_comes_first(corrupted):
    folder, _, pool = corrupted
    copies = [row for row in table(folder, "corruption") if row["corruption"] == "exact_duplicate"]
    assert copies
    for row in copies:
        assert pool.rows([row["uid"]])[0] < int(row["key"])


def test_trusted_is_decided_by_the_key_alone(corrupted):
    _, _, pool = corrupted
    train = [example for example in digits.read(Dataset()) if example.split == "train"]
    flagged = pool.table.filter(pool.table["trusted"])["uid"].to_pylist()
    uids = {example.key: images.measure(example.image, 10**6).uid for example in train}
    assert flagged == [uids[e.key] for e in train if corruption.trusted(e.key, 0.4, 0)]


def test_limit_is_for_each_split(tmp_path):
    counts, pool = ingest(tmp_path / "pool", Dataset("digits", limit=17))
    assert counts == {"found": 34, "copies": 0, "ingested": 34, "dropped": 0}
    assert Counter(pool.table["split"].to_pylist()) == {"train": 17, "test": 17}


def test_free_captions_are_swapped_among_examples(tmp_path):
    pictures = [(f"{n:05d}.png", encoded("PNG", size=(8, 8 + n))) for n in range(40)]
    captions = [(f"{n:05d}.txt", f"words {n}".encode()) for n in range(40)]
    path = write_tar(tmp_path / "a.tar", *sorted(pictures + captions))
    dataset = Dataset("webdataset", path=str(path), corruption=Corruption(wrong_label=1.0))
    _, pool = ingest(tmp_path / "pool", dataset)
    swapped = {row["key"] for row in table(tmp_path / "pool", "corruption")}
    rows = pool.table.to_pylist()
    assert swapped == {row["key"] for row in rows[1:] if row["split"] == "train"}
    for number, row in enumerate(rows):
        assert row["caption"] == f"words {number - (row['key'] in swapped)}"


def test_a_pool_can_be_ingested_again(tmp_path):
    _, first = ingest(tmp_path / "first", Dataset("digits", limit=50))
    _, second = ingest(tmp_path / "second", Dataset("webdataset", path=str(tmp_path / "first")))
    for name in ("uid", "label", "caption", "split", "std", "phash"):
        assert first.table[name].to_pylist() == second.table[name].to_pylist()
    assert first.classes == second.classes


def test_nothing_ingested_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    says = r"dataset\.path: .* of 1 found \(dropped_not_an_image 1\)"
    with pytest.raises(ValueError, match=says) as caught:
        ingest(tmp_path / "pool", Dataset("folder", path=str(tmp_path / "empty")))
    assert "\n" not in str(caught.value)


def test_whatever_fails_with_one_image_drops_that_image(tmp_path, monkeypatch):
    real = images.measure

    def failing(data, max_pixels):
        if len(data) % 7 == 0:
            raise RecursionError
        return real(data, max_pixels)

    monkeypatch.setattr(images, "measure", failing)
    counts, pool = ingest(tmp_path / "pool", Dataset("digits", limit=40, corruption=KINDS))
    assert counts["dropped"] == counts["dropped_failed_RecursionError"] > 0
    assert counts["ingested"] == len(pool) == counts["found"] - counts["dropped"]


CRASHING = """\
import os
from winnow.ingest import process_example
from winnow.pool import images
real = images.measure
def measure(data, max_pixels):
    return os._exit(9) if data.endswith(b'boom') else real(data, max_pixels)
def work(chunk, rules):
    images.measure = measure
    return process_example.work(chunk, rules)
"""


@pytest.mark.slow
def test_an_image_that_kills_its_worker_is_dropped_and_counted(tmp_path, monkeypatch):
    """A decoder that crashes its process: the module CRASHING replaces `images.measure` in each worker."""
    (tmp_path / "crashing.py").write_text(CRASHING)
    monkeypatch.syspath_prepend(tmp_path)
    import crashing

    monkeypatch.setattr(module, "work", crashing.work)
    monkeypatch.setattr(module, "ALONE_CHUNKS", 1)
    monkeypatch.setattr(module, "CHUNK_COUNT", 4)
    (tmp_path / "in" / "cat").mkdir(parents=True)
    for number in range(20):
        content = encoded("PNG", size=(8, 8 + number)) + b"boom" * (number == 9)
        (tmp_path / "in" / "cat" / f"{number:02d}.png").write_bytes(content)
    counts, _ = ingest(tmp_path / "pool", Dataset("folder", path=str(tmp_path / "in")))
    assert counts == {"found": 20, "copies": 0, "ingested": 19, "dropped": 1, "dropped_killed_worker": 1}
    assert table(tmp_path / "pool", "dropped") == [{"key": "cat/09.png", "reason": "killed_worker"}]
    stored = [row["source"] for row in table(tmp_path / "pool", "sources")]
    assert stored == [f"cat/{n:02d}.png" for n in range(20) if n != 9]


def test_chunks_close_at_their_size_in_bytes():
    large = module.Task(Example("k", bytes(module.CHUNK_BYTES // 2)), False, None)
    assert [len(chunk) for chunk in module._chunks([large] * 5)] == [2, 2, 1]
    small = module.Task(Example("k", b""), False, None)
    assert [len(chunk) for chunk in module._chunks([small] * 600)] == [256, 256, 88]


def test_progress_has_the_source_total_unless_a_limit_makes_it_wrong(tmp_path):
    (tmp_path / "in" / "cat").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "in" / "cat" / f"{number}.png").write_bytes(encoded("PNG", size=(8, 8 + number)))
    shown = []

    def track(items, **options):
        shown.append(options["total"])
        return silent(items)

    for limit, name in ((None, "all"), (2, "some")):
        (tmp_path / name).mkdir()
        dataset = Dataset("folder", path=str(tmp_path / "in"), limit=limit)
        ingest_source(dataset, 0, tmp_path / name, track)
    assert shown == [3, None]
