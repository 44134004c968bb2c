"""`stages.lint` on pools, versions and sources: whole ones, and each damage found, counted and named."""

import csv
import io
import json
import shutil
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.data import uids
from stages.ingest import ingest_source
from stages.lint import lint
from stages.params import Dataset, ParamsError


def png(seed, size=(8, 8)):
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path, *members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    tar(root / "a.tar", *[m for n in range(20) for m in ((f"{n}.png", png(n)), (f"{n}.json", json.dumps({"uid": f"s{n}"}).encode()))])
    (root / "pool").mkdir()
    ingest_source(Dataset(source="webdataset", path=str(root / "a.tar")), 0, root / "pool", lambda items, **_: items)
    return root


@pytest.fixture
def pool(made, tmp_path):
    """A pool of twenty that a test may harm, and a version of its first fifteen."""
    folder = shutil.copytree(made / "pool", tmp_path / "data/pool")
    names = sorted(pq.read_table(folder / "index.parquet")["uid"].to_pylist())
    version = tmp_path / "data/versions/pool"
    version.mkdir(parents=True)
    uids.save(version / "uids.npy", names[:15])
    rows = [{"uid": uid, "keep": place < 15, "reason": None if place < 15 else "blur"} for place, uid in enumerate(names)]
    pq.write_table(pa.Table.from_pylist(rows), version / "reasons.parquet")
    return folder


def change(path, edit):
    """Edit a parquet file's columns as lists."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    edit(columns)
    pq.write_table(pa.table(columns, schema=table.schema), path)


def put(column, row, value):
    return lambda columns: columns[column].__setitem__(row, value)


def test_a_whole_pool_and_version_are_good(pool):
    for full in (False, True):
        report = lint(str(pool), full)
        assert (report.failed, report.good) == (False, 20)
    report = lint(str(pool.parent / "versions/pool"))
    assert (report.failed, report.good) == (False, 15)
    assert list(report.lines())[-1].split() == ["15", "good;", "nothing", "wrong"]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("offset", 512 * 3, "no_bytes"),
        ("size", 7, "no_bytes"),
        ("ext", "jpg", "no_bytes"),
        ("uid", "f" * 32, "altered"),
        ("uid", "no uid", "wrong_uid"),
        ("label", 3, "wrong_label"),
        ("key", "000000000", "wrong_key"),
        ("shard", 9, "missing_shard"),
    ],
)
def test_each_wrong_row_of_an_index_is_found(pool, column, value, reason):
    change(pool / "index.parquet", put(column, 4, value))
    report = lint(str(pool))
    assert report.counts[reason] == 1
    assert report.failed


def test_shards_that_are_not_the_index_s(pool):
    shard = pool / "shards/shards-000000.tar"
    whole = shard.read_bytes()
    offsets = pq.read_table(pool / "index.parquet")["offset"].to_pylist()
    data = bytearray(whole)
    data[offsets[1] + 40] ^= 1
    shard.write_bytes(data)
    assert not lint(str(pool)).failed or lint(str(pool)).counts["altered"]  # row 1 need not be among those that are hashed
    assert dict(lint(str(pool), full=True).counts) == {"altered": 1}
    shard.write_bytes(whole[: offsets[10]])
    report = lint(str(pool))
    assert report.counts["damaged_shard"] == 1
    assert report.counts["no_bytes"] == 10
    shard.unlink()
    assert dict(lint(str(pool)).counts) == {"missing_shard": 20}
    shard.write_bytes(whole)
    (pool / "shards/shards-000001.tar").write_bytes(whole)
    assert lint(str(pool)).first["no_row"] == ["shards-000001.tar"]
    change(pool / "index.parquet", lambda columns: [column.pop() for column in columns.values()])
    assert lint(str(pool)).first["no_row"][0] == "shards-000000.tar/000000019.png"


def test_two_versions_of_one_source_uid(pool):
    change(pool / "sources.parquet", put("source_uid", 7, "s3"))
    report = lint(str(pool))
    assert (dict(report.counts), report.first["uid_conflict"]) == ({"uid_conflict": 1}, ["s3"])


@pytest.mark.parametrize("name", ["index.parquet", "classes.json", "sources.parquet"])
def test_files_of_a_pool_that_cannot_be_read(pool, name):
    (pool / name).write_bytes(b"PAR1 no")
    assert lint(str(pool)).failed
    if name == "index.parquet":
        pq.write_table(pa.table({"uid": ["a"]}), pool / name)
        assert "no column" in lint(str(pool)).first["wrong_index"][0]


def array(*names):
    return np.array([(int(name[:16], 16), int(name[16:], 16)) for name in names], uids.DTYPE)


def test_a_version_that_is_wrong(pool):
    folder = pool.parent / "versions/pool"
    held = uids.load(folder / "uids.npy")
    np.save(folder / "uids.npy", array(*held[::-1]))
    assert dict(lint(str(folder)).counts) == {"unsorted": 1}
    np.save(folder / "uids.npy", array(held[0], *held))
    assert dict(lint(str(folder)).counts) == {"twice": 1}
    np.save(folder / "uids.npy", array(*held, "f" * 32))
    assert dict(lint(str(folder)).counts) == {"not_in_pool": 1, "reasons_differ": 1}
    np.save(folder / "uids.npy", array(*held[1:]))
    assert lint(str(folder)).first["reasons_differ"] == [held[0]]
    np.save(folder / "uids.npy", np.arange(3))
    assert dict(lint(str(folder)).counts) == {"wrong_uids": 1}
    (folder / "uids.npy").write_bytes(b"no")
    assert dict(lint(str(folder)).counts) == {"wrong_uids": 1}
    np.save(folder / "uids.npy", array(*held))
    change(folder / "reasons.parquet", put("reason", 19, None))
    assert dict(lint(str(folder)).counts) == {"no_reason": 1}


# Sources


def test_shards_by_their_headers_or_in_full(tmp_path):
    tar(tmp_path / "0.tar", ("0.png", png(0)), ("1.png", b"no image"), ("2.txt", b"alone"), ("0.png", png(1)), ("3.png", png(3)[:90]))
    report = lint(str(tmp_path))
    assert dict(report.counts) == {"no_image": 1, "duplicate_key": 1}
    report = lint(str(tmp_path), full=True)
    assert dict(report.counts) == {"no_image": 1, "duplicate_key": 1, "not_an_image": 1, "truncated": 1}
    assert report.good == 1
    for path in ("0.tar", "{0..0}.tar"):
        assert lint(str(tmp_path / path)).counts == lint(str(tmp_path)).counts


def test_one_uid_in_two_shards(tmp_path):
    for shard, seed in ((0, 1), (1, 1), (2, 2)):
        tar(tmp_path / f"{shard}.tar", ("0.png", png(seed)), ("0.json", b'{"uid": "u"}'))
    assert lint(str(tmp_path), full=True).first["uid_conflict"] == ["2/0"]


def test_class_folders_tables_and_coco(tmp_path):
    root = tmp_path / "images"
    (root / "cat").mkdir(parents=True)
    (root / "cat/a.png").write_bytes(png(1))
    (root / "cat/b.png").write_bytes(b"")
    (root / "cat/c.txt").write_bytes(b"text")
    assert dict(lint(str(root)).counts) == {"empty": 1, "not_an_image": 1}
    with open(tmp_path / "list.csv", "w", newline="") as file:
        csv.writer(file).writerows([["image"], ["images/cat/a.png"], ["images/cat/a.png"], ["gone.png"]])
    assert dict(lint(str(tmp_path / "list.csv")).counts) == {"duplicate_key": 1, "unreadable_file_FileNotFoundError": 1}
    pictures = [{"id": n, "file_name": name} for n, name in enumerate(("a.png", "gone.png", "../../list.csv"))]
    (tmp_path / "annotations").mkdir()
    (root / "annotations.json").write_text(json.dumps({"images": pictures}))
    found = lint(str(root / "annotations.json"))
    assert dict(found.counts) == {"unreadable_file_FileNotFoundError": 1, "path_outside": 1}
    assert found.good == 1


def test_hugging_face(tmp_path):
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"image": [png(1), b"x"]}), tmp_path / "data/train-00000.parquet")
    assert dict(lint(str(tmp_path)).counts) == {"not_an_image": 1}


def test_the_dataset_of_params(tmp_path, monkeypatch):
    from stages import compose, params

    tar(tmp_path / "0.tar", ("0.png", png(0)))
    text = compose.composed(["dataset=webdataset", f"dataset.path={tmp_path / '0.tar'}", "scale=debug"])
    (tmp_path / "params.yaml").write_text(json.dumps(text))
    assert params.load(tmp_path / "params.yaml").dataset.source == "webdataset"
    assert lint(str(tmp_path / "params.yaml")).good == 1


def test_names_of_any_script_are_told_on_one_line(tmp_path):
    tar(tmp_path / "0.tar", ("图\n片.txt", b""), ("\u202egpj.txt", b""))
    [line] = [line for line in lint(str(tmp_path)).lines() if "no_image" in line]
    assert line.endswith(r"no_image: 0/\u56fe\n\u7247, 0/\u202egpj")


@pytest.mark.parametrize("path", ["gone", "gone.json", "gone.tar", "gone.yaml"])
def test_what_is_not_there_is_one_line(tmp_path, path):
    with pytest.raises(ParamsError) as caught:
        lint(str(tmp_path / path))
    assert "\n" not in str(caught.value)
