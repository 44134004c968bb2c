"""An exported version read again by others' readers, and by our own sources: the same images, labels and captions."""

import io

import pyarrow.parquet as pq
import pytest
from PIL import Image

from stages.data import uids as uid_files
from stages.export import WRITERS, export
from stages.params import Dataset
from stages.sources import folder, table, webdataset


@pytest.fixture
def version(digits_pool, tmp_path):
    """Sixty images of the polluted digits."""
    uids = sorted(set(digits_pool.table["uid"].to_pylist()))[:60]
    (tmp_path / "v").mkdir()
    uid_files.save(tmp_path / "v/uids.npy", uids)
    return tmp_path / "v", uids


def expected(pool, uids):
    rows = pool.rows(uids)
    facts = pool.table.select(["label", "caption"]).take(rows).to_pylist()
    return {uid: (pool.read(int(row)), fact["label"], fact["caption"]) for uid, row, fact in zip(uids, rows, facts, strict=True)}


@pytest.mark.parametrize("kind", sorted(WRITERS))
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
    names = [digits_pool.classes.index(name) for name in reader.classes(config)] if kind != "hf" else list(range(10))
    found = {uid_files.of(e.image): (e.image, names[e.label], e.caption) for e in reader.read(config)}
    wanted = expected(digits_pool, uids)
    if kind == "folder":  # a folder of classes has no captions of its own
        found, wanted = ({uid: value[:2] for uid, value in side.items()} for side in (found, wanted))
    assert found == wanted


def test_the_same_version_gives_the_same_bytes(version, digits_pool, tmp_path):
    for kind in WRITERS:
        for name in ("one", "two"):
            export(version[0], digits_pool, tmp_path / f"{kind}-{name}", kind)
        one, two = (
            {p.relative_to(root): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            for root in (tmp_path / f"{kind}-one", tmp_path / f"{kind}-two")
        )
        assert one == two


def test_hugging_face_reads_its_features_from_the_file(version, digits_pool, tmp_path):
    """What `datasets` looks for: the feature description in the schema's metadata, and images as {bytes, path}."""
    export(version[0], digits_pool, tmp_path / "out", "hf")
    data = pq.ParquetFile(tmp_path / "out/data/train-00000.parquet")
    assert b'"_type": "Image"' in data.schema_arrow.metadata[b"huggingface"]
    assert Image.open(io.BytesIO(data.read()["image"][0].as_py()["bytes"])).size == (8, 8)


def test_nothing_is_overwritten(version, digits_pool, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(ValueError, match="out: is there already; give another place, or remove it"):
        export(version[0], digits_pool, tmp_path / "out", "folder")
    with pytest.raises(ValueError, match="no version there"):
        export(tmp_path, digits_pool, tmp_path / "new", "folder")
