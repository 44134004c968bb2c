import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from collections import Counter
from multiprocessing import get_context

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from stages import ingest
from stages.data import images, partial, parts, pollution, pool_writer
from stages.data.pool import Pool
from stages.ingest import ingest_source
from stages.params import Dataset, Pollution, parse
from stages.sources import Example, digits

DIRTY = Pollution(wrong_label=0.4, noise=0.07, permuted=0.07, blank=0.02, exact_duplicate=0.03, near_duplicate=0.03)


def silent(items, **_):
    yield from items


def run(folder, seed=0, **fields):
    folder.mkdir(parents=True, exist_ok=True)
    counts = ingest_source(Dataset(**fields), seed, folder, silent)
    return counts, Pool.open(folder)


def table(folder, name):
    return pq.read_table(folder / f"{name}.parquet").to_pylist()


def digest(folder):
    return {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*.*"))}


def encoded(kind, mode="RGB", size=(20, 20), **options):
    buffer = io.BytesIO()
    draw = np.random.default_rng(zlib.crc32(f"{kind}{mode}{size}".encode()))
    noise = draw.integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise, "RGB").convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


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
    for name, data in {**GOOD, **{n: d for n, (d, _) in BAD.items()}}.items():
        for group in ("cat", "dog"):
            (root / group).mkdir(parents=True, exist_ok=True)
            (root / group / name).write_bytes(data)
    (root / "dog" / "gone.jpg").symlink_to(root / "nowhere")
    (root / "README.md").write_text("hello")
    return root


def test_a_messy_folder_is_counted_to_the_last_file(tmp_path):
    path = mess(tmp_path / "mess")
    counts, opened = run(tmp_path / "pool", source="folder", path=str(path), max_pixels=10_000)
    assert counts["found"] == sum(1 for p in path.rglob("*") if not p.is_dir()) == 30
    assert counts["ingested"] + counts["dropped"] == counts["found"]
    assert counts["ingested"] == len(opened) == 2 * len(GOOD)
    reasons = Counter(row["reason"] for row in table(tmp_path / "pool", "dropped"))
    expected = Counter(reason for _, reason in BAD.values() for _ in range(2))
    expected.update(["unreadable_file_FileNotFoundError", "not_an_image"])
    assert reasons == expected
    assert {k.removeprefix("dropped_"): v for k, v in counts.items() if k.startswith("dropped_")} == expected
    assert set(opened.table["ext"].to_pylist()) == {"jpg", "png", "webp"}
    converted = Counter(opened.table["converted"].to_pylist())
    assert converted == {None: 10, "cmyk": 2, "transparency": 2, "tiff": 2}
    for row in range(len(opened)):
        opened.verify(row)


def test_a_messy_tar_is_counted_too(tmp_path):
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "00000.tar", "w") as tar:
        for number, data in enumerate([*GOOD.values(), *(d for d, _ in BAD.values())]):
            for name, content in ((f"{number:05d}.jpg", data), (f"{number:05d}.txt", b"words")):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    whole = (tmp_path / "shards" / "00000.tar").read_bytes()
    (tmp_path / "shards" / "00001.tar").write_bytes(whole[: len(whole) // 2])
    counts, opened = run(tmp_path / "pool", source="webdataset", path=str(tmp_path / "shards"), max_pixels=10_000)
    assert counts["ingested"] + counts["dropped"] == counts["found"]
    assert counts["dropped_damaged_shard_00001.tar"] == 1
    assert counts["dropped_truncated"] >= 2
    assert len(opened) == counts["ingested"] > len(GOOD)
    assert set(opened.table["caption"].to_pylist()) == {"words"}


def test_same_seed_same_bytes_and_another_seed_others(tmp_path):
    fields = {"source": "digits", "trusted": 0.4, "pollution": DIRTY, "limit": 300}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed, **fields)
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert digest(tmp_path / "a")["index.parquet"] != digest(tmp_path / "c")["index.parquet"]


def test_helpers_change_nothing(tmp_path, monkeypatch):
    fields = {"source": "digits", "trusted": 0.4, "pollution": DIRTY}
    alone, _ = run(tmp_path / "alone", **fields)
    monkeypatch.setattr(ingest, "ALONE_CHUNKS", 1)
    helped, _ = run(tmp_path / "helped", **fields)
    assert alone == helped
    assert digest(tmp_path / "alone") == digest(tmp_path / "helped")


@pytest.fixture(scope="module")
def dirty(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dirty")
    counts, opened = run(folder, source="digits", trusted=0.4, pollution=DIRTY)
    return folder, counts, opened


def test_dirt_is_where_it_may_be_and_nowhere_else(dirty):
    folder, counts, opened = dirty
    index = {row["key"]: row for row in opened.table.to_pylist()}
    dirt = {row["key"]: row["dirt"] for row in table(folder, "dirt")}
    assert set(dirt.values()) == set(DIRTY.__dataclass_fields__)
    assert all(index[key]["split"] == "train" and not index[key]["trusted"] for key in dirt)
    assert counts["found"] == 1797 + counts["copies"] == len(opened)
    assert counts["copies"] == sum(kind.endswith("_duplicate") for kind in dirt.values())
    trusted = sum(row["trusted"] for row in index.values())
    assert trusted == pytest.approx(0.4 * 1437, abs=4 * 18.6)  # binomial(1437, 0.4) has a standard deviation of 18.6
    assert "dirt" not in opened.table.column_names
    assert not any("polluted" in name or "dirt" in name for name in counts)


def test_the_source_is_there_unchanged_where_it_is_clean(dirty):
    folder, _, opened = dirty
    sources = {example.key: example for example in digits.read(Dataset())}
    dirt = {row["key"]: row["dirt"] for row in table(folder, "dirt")}
    seen = set()
    with tarfile.open(folder / "shards" / "shards-000000.tar") as tar:
        facts = {m.name[:9]: json.load(tar.extractfile(m)) for m in tar.getmembers() if m.name.endswith(".json")}
    for number, row in enumerate(opened.table.to_pylist()):
        source = sources[facts[row["key"]]["source"]]
        kind = dirt.get(row["key"])
        seen.add(source.key)
        assert (opened.read(number) == source.image) == (kind in (None, "wrong_label", "exact_duplicate"))
        assert (row["label"] == source.label) == (kind != "wrong_label")
        assert row["caption"] == f"a photo of the digit {opened.classes[row['label']]}"
        assert (row["std"] == 0) == (kind == "blank")
    assert seen == set(sources)


def test_neither_index_nor_shards_tell_a_copy(dirty):
    folder, _, opened = dirty
    assert opened.table["key"].to_pylist() == [f"{i:09d}" for i in range(len(opened))]
    content = (folder / "shards" / "shards-000000.tar").read_bytes()
    assert b"-copy" not in content
    assert b"-near" not in content


def test_an_exact_copy_shares_the_uid_and_the_original_comes_first(dirty):
    folder, _, opened = dirty
    copies = [row for row in table(folder, "dirt") if row["dirt"] == "exact_duplicate"]
    assert copies
    for row in copies:
        assert opened.rows([row["uid"]])[0] < int(row["key"])


def test_limit_is_for_each_split(tmp_path):
    counts, opened = run(tmp_path / "pool", source="digits", limit=17)
    assert counts == {"found": 34, "copies": 0, "ingested": 34, "dropped": 0}
    assert Counter(opened.table["split"].to_pylist()) == {"train": 17, "test": 17}


def test_free_captions_are_swapped_among_examples(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number in range(40):
            for ext, content in (("png", encoded("PNG", size=(8, 8 + number))), ("txt", f"words {number}".encode())):
                info = tarfile.TarInfo(f"{number:05d}.{ext}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    wrong = Pollution(wrong_label=1.0)
    _, opened = run(tmp_path / "pool", source="webdataset", path=str(tmp_path / "a.tar"), pollution=wrong)
    dirt = {row["key"] for row in table(tmp_path / "pool", "dirt")}
    rows = opened.table.to_pylist()
    assert dirt == {row["key"] for row in rows[1:] if row["split"] == "train"}
    for number, row in enumerate(rows):
        assert row["caption"] == f"words {number - (row['key'] in dirt)}"


def test_a_pool_can_be_ingested_again(tmp_path):
    _, first = run(tmp_path / "first", source="digits", limit=50)
    _, second = run(tmp_path / "second", source="webdataset", path=str(tmp_path / "first"))
    for name in ("uid", "label", "caption", "split", "std", "phash"):
        assert first.table[name].to_pylist() == second.table[name].to_pylist()
    assert first.classes == second.classes


def test_nothing_ingested_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    with pytest.raises(ValueError, match=r"dataset\.path: .* of 1 found \(dropped_not_an_image 1\)") as caught:
        run(tmp_path / "pool", source="folder", path=str(tmp_path / "empty"))
    assert "\n" not in str(caught.value)


def test_whatever_fails_with_one_image_drops_that_image(tmp_path, monkeypatch):
    real = images.measure

    def moody(data, max_pixels):
        if len(data) % 7 == 0:
            raise RecursionError
        return real(data, max_pixels)

    monkeypatch.setattr(images, "measure", moody)
    counts, opened = run(tmp_path / "pool", source="digits", limit=40, pollution=DIRTY)
    assert counts["dropped"] == counts["dropped_failed_RecursionError"] > 0
    assert counts["ingested"] == len(opened) == counts["found"] - counts["dropped"]


def test_trusted_is_decided_by_pollution_alone(dirty):
    _, _, opened = dirty
    order = [e.key for e in digits.read(Dataset()) if e.split == "train"]
    flags = opened.table.filter(opened.table["trusted"])["uid"].to_pylist()
    uids = {e.key: images.measure(e.image, 10**6).uid for e in digits.read(Dataset()) if e.split == "train"}
    assert flags == [uids[key] for key in order if pollution.trusted(key, 0.4, 0)]


def test_an_image_that_kills_its_worker_is_dropped_and_counted(tmp_path, monkeypatch):
    """A decoder that crashes its process, in a real one: the module replaces `images.measure` where a worker imports it."""
    (tmp_path / "crashing.py").write_text(
        "import os\nfrom stages.data import images, intake\nreal = images.measure\n"
        "def measure(data, max_pixels):\n    return os._exit(9) if data.endswith(b'boom') else real(data, max_pixels)\n"
        "def work(chunk, rules):\n    images.measure = measure\n    return intake.work(chunk, rules)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    import crashing

    monkeypatch.setattr(ingest, "work", crashing.work)
    monkeypatch.setattr(ingest, "ALONE_CHUNKS", 1)
    monkeypatch.setattr(ingest, "CHUNK_COUNT", 4)
    for number in range(20):
        (tmp_path / "in" / "cat").mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / "cat" / f"{number:02d}.png").write_bytes(encoded("PNG", size=(8, 8 + number)) + b"boom" * (number == 9))
    counts, _ = run(tmp_path / "pool", source="folder", path=str(tmp_path / "in"))
    assert counts == {"found": 20, "copies": 0, "ingested": 19, "dropped": 1, "dropped_killed_worker": 1}
    assert table(tmp_path / "pool", "dropped") == [{"key": "cat/09.png", "reason": "killed_worker"}]
    assert [row["source"] for row in table(tmp_path / "pool", "sources")] == [f"cat/{n:02d}.png" for n in range(20) if n != 9]


def test_a_dask_cluster_changes_nothing(tmp_path):
    pytest.importorskip("distributed")
    fields = Dataset(source="digits", trusted=0.4, pollution=DIRTY, limit=300)
    for name, cluster in (("alone", None), ("cluster", "local")):
        (tmp_path / name).mkdir()
        ingest_source(fields, 0, tmp_path / name, silent, cluster)
    assert digest(tmp_path / "alone") == digest(tmp_path / "cluster")


def test_chunks_close_at_their_size_in_bytes():
    task = ingest.Task(Example("k", bytes(ingest.CHUNK_BYTES // 2)), False, None)
    assert [len(c) for c in ingest._chunks([task] * 5)] == [2, 2, 1]
    small = ingest.Task(Example("k", b""), False, None)
    assert [len(c) for c in ingest._chunks([small] * 600)] == [256, 256, 88]


def captioned(path, count=400):
    """A tar of pictures with free captions, every ninth of them cut short."""
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            data = encoded("PNG", size=(8, 8 + number % 50))
            for ext, content in (("png", data[: -30 * (number % 9 == 0)] or data), ("txt", f"words {number}".encode())):
                info = tarfile.TarInfo(f"{number:05d}.{ext}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return str(path)


MIXED = Pollution(wrong_label=0.3, exact_duplicate=0.3, near_duplicate=0.3)


def killed_at(item, fields, folder):
    """Ingest in a process of its own that is killed, as by kill -9, before it stores this item; None lets it end."""

    def watch(items, **_):
        for number, one in enumerate(items):
            if number == item:
                os.kill(os.getpid(), signal.SIGKILL)
            yield one

    child = get_context("fork").Process(target=ingest_source, args=(fields, 0, folder, watch), kwargs={"resume": True})
    child.start()
    child.join(120)
    return child.exitcode


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(pool_writer, "MAX_COUNT", 23)
    monkeypatch.setattr(ingest, "CHUNK_COUNT", 7)
    monkeypatch.setattr(ingest, "ALONE_CHUNKS", 10**6)


@pytest.mark.parametrize("seed", range(4))
def test_killed_again_and_again_it_ends_as_if_unbroken(tmp_path, small_shards, seed):
    fields = Dataset(source="webdataset", path=captioned(tmp_path / "a.tar"), limit=250, trusted=0.2, pollution=MIXED)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    counts = ingest_source(fields, 0, tmp_path / "whole", silent)
    assert counts["dropped"] > 20
    assert counts["copies"] > 50
    draw = np.random.default_rng(seed)
    for _ in range(4):  # an item is a group of outcomes after the whole shards, so that each run gets further
        assert killed_at(int(draw.integers(60)), fields, tmp_path / "broken") == -signal.SIGKILL
        assert not (tmp_path / "broken" / "index.parquet").exists()
    assert ingest_source(fields, 0, tmp_path / "broken", silent, resume=True) == counts
    assert digest(tmp_path / "whole") == digest(tmp_path / "broken")
    assert not (tmp_path / "broken" / "parts").exists()


def test_whole_shards_are_not_made_again(tmp_path, small_shards, monkeypatch):
    fields = Dataset(source="webdataset", path=captioned(tmp_path / "a.tar", 200))
    (tmp_path / "pool").mkdir()
    assert killed_at(150, fields, tmp_path / "pool") == -signal.SIGKILL
    begun = parts.Begun.load(tmp_path / "pool")
    assert begun.shards == 5  # 150 examples, every ninth dropped: 133 stored, 23 a shard
    before = [(tmp_path / "pool" / name).stat().st_mtime_ns for name in begun.sizes if name.startswith("shards")]
    decoded = []
    real = images.measure
    monkeypatch.setattr(images, "measure", lambda data, limit: decoded.append(1) or real(data, limit))
    ingest_source(fields, 0, tmp_path / "pool", silent, resume=True)
    assert [(tmp_path / "pool" / name).stat().st_mtime_ns for name in begun.sizes if name.startswith("shards")] == before
    assert len(decoded) == 200 - begun.reached["tasks"]


def test_a_source_that_changed_is_begun_anew(tmp_path, small_shards):
    path = captioned(tmp_path / "a.tar", 200)
    fields = Dataset(source="webdataset", path=path)
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    assert killed_at(150, fields, tmp_path / "broken") == -signal.SIGKILL
    content = bytearray((tmp_path / "a.tar").read_bytes())
    content[content.index(b"words 3")] = ord("W")
    (tmp_path / "a.tar").write_bytes(content)
    assert ingest_source(fields, 0, tmp_path / "broken", silent, resume=True) == ingest_source(fields, 0, tmp_path / "whole", silent)
    assert digest(tmp_path / "whole") == digest(tmp_path / "broken")


@pytest.mark.parametrize("harm", ["shard", "part", "begun"])
def test_what_was_left_and_is_not_whole_is_begun_anew(tmp_path, small_shards, harm):
    fields = Dataset(source="webdataset", path=captioned(tmp_path / "a.tar", 100))
    (tmp_path / "pool").mkdir()
    assert killed_at(80, fields, tmp_path / "pool") == -signal.SIGKILL
    name = {"shard": "shards/shards-000001.tar", "part": "parts/index-000001.arrows", "begun": "parts/begun.json"}[harm]
    (tmp_path / "pool" / name).write_bytes((tmp_path / "pool" / name).read_bytes()[:-10])
    assert parts.Begun.load(tmp_path / "pool") is None
    counts = ingest_source(fields, 0, tmp_path / "pool", silent, resume=True)
    assert len(Pool.open(tmp_path / "pool")) == counts["ingested"]


def test_the_folder_is_of_this_source_and_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(partial, "FOLDER", tmp_path)
    first = partial.claim(Dataset(source="digits"), 0)
    assert partial.claim(Dataset(source="digits"), 0) == first
    assert partial.claim(Dataset(source="digits", limit=5), 0) != first
    assert not first.exists()
    other = partial.claim(Dataset(source="digits", limit=5), 1)
    assert list(tmp_path.iterdir()) == [other]


@pytest.mark.slow
def test_a_killed_stage_goes_on_where_it_stopped(tmp_path, copy_project, monkeypatch):
    """`python -m stages.ingest` with helpers, killed by kill -9 from outside in mid-run, then run again."""
    script = (
        "from stages.data import pool_writer\npool_writer.MAX_COUNT = 100\nfrom stages import ingest\ningest.CHUNK_COUNT = 16\n"
        "ingest.ALONE_CHUNKS = 2\nfrom stages.stage import main\nmain(ingest.ingest)\n"
    )
    root = copy_project(tmp_path / "project", "dataset=digits", "scale=debug")
    command, place = [sys.executable, "-c", script], {**os.environ, "PYTHONPATH": str(root), "WINNOW_EXECUTION": "test"}
    first = subprocess.Popen(command, cwd=root, env=place)
    while len(list((root / ".winnow/partial").glob("*/shards/*.tar"))) < 4:
        assert first.poll() is None, "it ended by itself"
        time.sleep(0.01)
    family = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    assert not psutil.wait_procs(family, timeout=60)[1]
    again = subprocess.run(command, cwd=root, env=place, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "ingest: goes on after the first" in again.stdout
    assert list((root / ".winnow/partial").iterdir()) == []
    monkeypatch.setattr(pool_writer, "MAX_COUNT", 100)
    (tmp_path / "whole").mkdir()
    ingest_source(parse(yaml.safe_load((root / "params.yaml").read_text())).dataset, 0, tmp_path / "whole", silent)
    whole = digest(tmp_path / "whole")
    assert len(whole) > 10
    assert {name: found for name, found in digest(root / "data/pool").items() if name in whole} == whole
