"""An exported version read again by others' readers, and by our own sources: the same images, labels and
captions.
"""

import io
import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.pictures import encode
from winnow.config.datasets import Dataset
from winnow.export import WRITERS, export
from winnow.ingest.example import Example
from winnow.ingest.writer import PoolWriter
from winnow.pool import uids as uid_files
from winnow.pool.images import measure
from winnow.pool.pool import Pool
from winnow.sources import folder, table, webdataset
from winnow.versions.version import write

# The kinds that hold the images themselves, in a form that a source of ours reads.
INGESTED = ("folder", "hf", "webdataset")


def add(pool, example, data):
    pool.add(example, measure(data, 100), trusted=False, corruption=None, source=example.key)


@pytest.fixture
def version(digits_pool, tmp_path):
    """Sixty images of the corrupted digits."""
    uids = sorted(set(digits_pool.table["uid"].to_pylist()))[:60]
    (tmp_path / "v").mkdir()
    uid_files.save(tmp_path / "v/uids.npy", uids)
    return tmp_path / "v", uids


@pytest.fixture
def datacomp(tmp_path):
    """A function: a pool of five images, of which a source gave `given` uids; rows 1 and 2 are one image."""

    def make(given):
        pictures = [np.full((8, 8), 40 * min(row, 3) + 20 * (row > 1), np.uint8) for row in (0, 1, 1, 2, 3)]
        folder = tmp_path / "data"
        folder.mkdir()
        with PoolWriter(folder) as pool:
            for row, (pixels, uid) in enumerate(zip(pictures, given, strict=True)):
                add(pool, Example(f"s{row}", b"", uid=uid), encode(pixels))
        return Pool.open(folder)

    return make


def expected(pool, uids):
    rows = pool.rows(uids)
    facts = pool.table.select(["label", "caption"]).take(rows).to_pylist()
    return {
        uid: (pool.read(int(row)), fact["label"], fact["caption"])
        for uid, row, fact in zip(uids, rows, facts, strict=True)
    }


@pytest.mark.parametrize("kind", INGESTED)
def test_what_is_exported_can_be_ingested_again(kind, version, digits_pool, tmp_path):
    path, uids = version
    out = tmp_path / "out"
    assert export(path, digits_pool, out, kind) == 60
    assert not list(tmp_path.glob("*.partial"))
    reader, where, options = {
        "folder": (folder, out, {}),
        "webdataset": (webdataset, out, {}),
        "hf": (table, out / "data/train-00000.parquet", {"label": "label", "caption": "caption"}),
    }[kind]
    config = Dataset(source=kind, path=str(where), options=options)
    names = digits_pool.classes if kind == "hf" else reader.classes(config)
    labels = [digits_pool.classes.index(name) for name in names]
    found = {uid_files.of(e.image): (e.image, labels[e.label], e.caption) for e in reader.read(config)}
    stored = expected(digits_pool, uids)
    if kind == "folder":  # a folder of classes has no captions of its own
        found, stored = ({uid: value[:2] for uid, value in side.items()} for side in (found, stored))
    assert found == stored


def test_the_same_version_gives_the_same_bytes(version, digits_pool, tmp_path):
    for kind in sorted(set(WRITERS) - {"datacomp"}):
        for name in ("one", "two"):
            export(version[0], digits_pool, tmp_path / f"{kind}-{name}", kind)
        one, two = (
            {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            for root in (tmp_path / f"{kind}-one", tmp_path / f"{kind}-two")
        )
        assert one == two


def test_hugging_face_reads_its_features_from_the_file(version, digits_pool, tmp_path):
    """What `datasets` looks for: the feature description in the schema's metadata, and images as {bytes,
    path}.
    """
    export(version[0], digits_pool, tmp_path / "out", "hf")
    data = pq.ParquetFile(tmp_path / "out/data/train-00000.parquet")
    assert b'"_type": "Image"' in data.schema_arrow.metadata[b"huggingface"]
    assert Image.open(io.BytesIO(data.read()["image"][0].as_py()["bytes"])).size == (8, 8)


def test_nothing_is_overwritten(version, digits_pool, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="out: exists already; give another path, or remove it"):
        export(version[0], digits_pool, tmp_path / "out", "folder")
    with pytest.raises(ValueError, match="no version there"):
        export(tmp_path, digits_pool, tmp_path / "new", "folder")


def test_curator_gets_jpg_and_a_list_of_what_was_encoded_again(version, digits_pool, tmp_path):
    """Digits are png, so all are encoded again; near to the original, because no colour is lost and the
    quality is high.
    """
    path, uids = version
    export(path, digits_pool, tmp_path / "out", "curator")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["00000.parquet", "00000.tar", "README.md"]
    rows = pq.ParquetFile(tmp_path / "out/00000.parquet").read().to_pylist()
    with tarfile.open(tmp_path / "out/00000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
    assert list(members) == [row["member_name"] for row in rows]
    assert [row["image_id"] for row in rows[:2]] == ["000000000", "000000001"]
    assert [row["uid"] for row in rows] == uids
    stored = expected(digits_pool, uids)
    for row in rows:
        image, original = (
            Image.open(io.BytesIO(data)) for data in (members[row["member_name"]], stored[row["uid"]][0])
        )
        assert image.format == "JPEG"
        assert row["encoded_again"]
        difference = np.asarray(image.convert("RGB"), float) - np.asarray(original.convert("RGB"), float)
        assert np.abs(difference).mean() < 12  # of 255, on 8 x 8 noise
        assert json.loads(row["metadata"])["class"] == digits_pool.classes[stored[row["uid"]][1]]
        assert row["label"] == stored[row["uid"]][1]
    assert "60 of them were stored as png or webp" in (tmp_path / "out/README.md").read_text()


def test_curator_keeps_the_bytes_of_a_jpg(tmp_path):
    data = encode(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), "JPEG")
    (tmp_path / "data").mkdir()
    with PoolWriter(tmp_path / "data") as writer:
        add(writer, Example("a", b"", caption="\u00e4"), data)
    pool = Pool.open(tmp_path / "data")
    uid_files.save(tmp_path / "uids.npy", pool.table["uid"].to_pylist())
    export(tmp_path, pool, tmp_path / "out", "curator")
    with tarfile.open(tmp_path / "out/00000.tar") as tar:
        assert tar.extractfile("000000000.jpg").read() == data
    (row,) = pq.ParquetFile(tmp_path / "out/00000.parquet").read().to_pylist()
    assert (row["encoded_again"], row["label"], row["caption"]) == (False, None, "\u00e4")


def test_datacomp_gets_the_uids_of_the_source(datacomp, tmp_path):
    """One image came twice, under two uids of the source, and the version holds both rows."""
    given = [f"{row:032x}" for row in (9, 3, 5, 7, 1)]
    pool = datacomp(given)
    lineage = {"parent": None, "model": None, "seed": 0, "steps": []}
    keep = np.array([True, True, True, False, True])
    write(tmp_path / "v", "v", pool, keep, np.full(5, "tiny", object), lineage)
    export(tmp_path / "v", pool, tmp_path / "out", "datacomp")
    found = np.load(tmp_path / "out/uids.npy")
    assert found.dtype == np.dtype("u8,u8")  # what resharder.py reads
    assert uid_files.load(tmp_path / "out/uids.npy") == sorted(given[:3] + given[4:])
    (tmp_path / "v/reasons.parquet").unlink()  # by uid alone: the copy's too
    export(tmp_path / "v", pool, tmp_path / "again", "datacomp")
    assert uid_files.load(tmp_path / "again/uids.npy") == sorted(given[:3] + given[4:])


def test_datacomp_without_uids_of_the_source_is_one_line(datacomp, tmp_path):
    pool = datacomp([f"{1:032x}", None, None, f"{2:032x}", f"{3:032x}"])
    uid_files.save(tmp_path / "uids.npy", set(pool.table["uid"].to_pylist()))
    line = "datacomp: 2 of 5 images have no uid of their source; it gave none, or not to all"
    with pytest.raises(ValueError, match=line):
        export(tmp_path, pool, tmp_path / "out", "datacomp")
    assert not list(tmp_path.glob("out*"))
    (pool.folder / "sources.parquet").unlink()
    with pytest.raises(ValueError, match="sources.parquet: not there, so the source's uids are unknown"):
        export(tmp_path, pool, tmp_path / "out", "datacomp")
