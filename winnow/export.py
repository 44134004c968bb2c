"""A version as files of its own, for other tools. Training here needs none: it reads the pool by uid.

    folder       OUT/CLASS/UID.ext, and OUT/UID.ext without a class: torchvision's ImageFolder
    webdataset   OUT/shard-000000.tar of UID.ext, UID.cls, UID.txt, UID.json, and OUT/classes.json:
                 webdataset, img2dataset
    hf           OUT/data/train-00000.parquet with image {bytes, path}, label, caption:
                 datasets.load_dataset("parquet", data_dir=OUT)
    curator      OUT/00000.tar of jpg alone, OUT/00000.parquet with a row for each, OUT/README.md: NeMo
                 Curator
    datacomp     OUT/uids.npy of the source's own uids, for a pool whose source gave them: DataComp's
                 resharder.py

The same version gives the same bytes. They are written beside OUT and moved there when complete, so that half
an export is never taken for a whole one.
"""

import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from winnow.pipeline.files import write_json
from winnow.pool import uids as uid_files
from winnow.pool.images import decode
from winnow.pool.pool import MAX_BYTES, MAX_COUNT, Pool
from winnow.versions.version import Version, load

ROWS = 1000  # of a row group, and of a shard for Curator: its writer's own default
# Of images that NeMo Curator cannot read as they are; subsampling 0 keeps all colour.
JPEG = {"quality": 95, "subsampling": 0}
CURATOR = pa.schema(
    {
        "image_id": pa.string(),
        "tar_file": pa.string(),
        "member_name": pa.string(),
        "original_path": pa.string(),
        "metadata": pa.string(),
        "uid": pa.string(),
        "label": pa.int64(),
        "caption": pa.string(),
        "encoded_again": pa.bool_(),
    }
)


@dataclass(frozen=True)
class Item:
    uid: str
    ext: str
    data: bytes
    label: int  # -1: none
    caption: str | None


def export(version: Path, pool: Pool, out: Path, kind: str) -> int:
    """Write a version as `kind`, one of `WRITERS`; the number of its images.

    Raises:
        ValueError: if there is no version, OUT exists already, or the pool lacks one of its images.
    """
    opened = load(version)
    if out.exists():
        raise ValueError(f"{out}: exists already; give another path, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f"{out.name}.", suffix=".partial", dir=out.parent))
    partial.chmod(0o755)
    try:
        WRITERS[kind](partial, opened, pool)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(opened.uids)


def _items(version: Version, pool: Pool) -> Iterator[Item]:
    rows = pool.rows(version.uids).tolist()
    table = pool.table.select(["ext", "label", "caption"])
    for start in range(0, len(rows), ROWS):
        chunk, uids = rows[start : start + ROWS], version.uids[start : start + ROWS]
        for uid, row, facts in zip(uids, chunk, table.take(chunk).to_pylist(), strict=True):
            yield Item(uid, facts["ext"], pool.read(row), facts["label"], facts["caption"])


def _folder(out: Path, version: Version, pool: Pool) -> None:
    names = [name.replace("/", "_").replace("\0", "_").lstrip(".") or "_" for name in pool.classes]
    if len(set(names)) != len(names):
        raise ValueError("two classes have the same name as a folder; export as webdataset or hf")
    for item in _items(version, pool):
        folder = out / names[item.label] if item.label >= 0 else out
        folder.mkdir(exist_ok=True)
        (folder / f"{item.uid}.{item.ext}").write_bytes(item.data)


def _webdataset(out: Path, version: Version, pool: Pool) -> None:
    from webdataset.writer import ShardWriter

    write_json(out / "classes.json", pool.classes, sort_keys=False)
    pattern = str(out.resolve()).replace("%", "%%") + "/shard-%06d.tar"
    with ShardWriter(pattern, MAX_COUNT, MAX_BYTES, verbose=0, mtime=0, encoder=False) as shards:
        for item in _items(version, pool):
            members = {item.ext: item.data, "json": json.dumps({"uid": item.uid}).encode()}
            members |= {"cls": str(item.label).encode()} if item.label >= 0 else {}
            members |= {"txt": item.caption.encode("utf-8", "replace")} if item.caption is not None else {}
            shards.write({"__key__": item.uid, **members})


def _hf(out: Path, version: Version, pool: Pool) -> None:
    number, text = ({"dtype": dtype, "_type": "Value"} for dtype in ("int64", "string"))
    label = {"names": pool.classes, "_type": "ClassLabel"} if pool.classes else number
    features = {"image": {"_type": "Image"}, "label": label, "caption": text}
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema({"image": image, "label": pa.int64(), "caption": pa.string()}, metadata=about)
    (out / "data").mkdir()
    with pq.ParquetWriter(out / "data/train-00000.parquet", schema) as writer:
        for chunk in _chunks(_items(version, pool)):
            columns = [
                pa.array([{"bytes": item.data, "path": f"{item.uid}.{item.ext}"} for item in chunk], image),
                pa.array([item.label if item.label >= 0 else None for item in chunk], pa.int64()),
                pa.array([item.caption for item in chunk], pa.string()),
            ]
            writer.write_table(pa.table(columns, schema=schema))


def _curator(out: Path, version: Version, pool: Pool) -> None:
    """What Curator's ImageReaderStage reads (jpg alone), with the columns that its ImageWriterStage writes,
    and four of ours.
    """
    from webdataset.writer import TarWriter

    reencoded = 0
    for number, chunk in enumerate(_chunks(_items(version, pool))):
        shard, rows = f"{number:05d}", []
        with TarWriter(str(out / f"{shard}.tar"), encoder=False, mtime=0) as tar:
            for position, item in enumerate(chunk):
                name, is_jpg = f"{shard}{position:04d}", item.ext == "jpg"
                tar.write({"__key__": name, "jpg": item.data if is_jpg else _jpeg(item.data)})
                rows.append(_curator_row(item, pool.classes, shard, name))
                reencoded += not is_jpg
        pq.write_table(pa.Table.from_pylist(rows, CURATOR), out / f"{shard}.parquet")
    (out / "README.md").write_text(_curator_readme(version, reencoded), encoding="utf-8")


def _curator_row(item: Item, classes: list[str], shard: str, name: str) -> dict[str, Any]:
    labelled = item.label >= 0
    facts = {"uid": item.uid, "class": classes[item.label] if labelled else None}
    return {
        "image_id": name,
        "tar_file": f"{shard}.tar",
        "member_name": f"{name}.jpg",
        "original_path": f"{item.uid}.{item.ext}",
        "metadata": json.dumps(facts, ensure_ascii=False),
        "uid": item.uid,
        "label": item.label if labelled else None,
        "caption": item.caption,
        "encoded_again": item.ext != "jpg",
    }


def _curator_readme(version: Version, reencoded: int) -> str:
    lines = [
        f"# {version.name} for NeMo Curator",
        f"{len(version.uids)} images of the version whose uids.npy has the SHA-256 `{version.digest}`.",
        f"{reencoded} of them were stored as png or webp. NeMo Curator reads jpg alone, so these were "
        f"encoded again (JPEG, quality {JPEG['quality']}, all colour kept): they are not the same pixels any "
        "more. Column `encoded_again` names them, and column `uid` is the uid of the stored image, not of "
        "the bytes here.",
    ]
    return "\n\n".join(lines) + "\n"


def _jpeg(data: bytes) -> bytes:
    buffer = io.BytesIO()
    decode(data).save(buffer, "JPEG", **JPEG)
    return buffer.getvalue()


def _datacomp(out: Path, version: Version, pool: Pool) -> None:
    """Every row that the version holds has a uid of its own at the source, copies of one image too."""
    sources, reasons = pool.records("sources", ["key", "uid", "source_uid"]), version.reasons
    if not len(sources):
        place = pool.parts[0].records / "sources.parquet"
        raise ValueError(f"{place}: not there, so the source's uids are unknown; run: dvc repro -f ingest")
    if len(reasons):
        held = pc.is_in(sources["key"], reasons["key"].filter(reasons["keep"]).combine_chunks())
    else:  # a subset made elsewhere
        held = pc.is_in(sources["uid"], pa.array(version.uids))
    source_uids = sources["source_uid"].filter(held)
    if source_uids.null_count or not len(source_uids):
        without = f"{source_uids.null_count} of {len(source_uids)} images"
        raise ValueError(f"datacomp: {without} have no uid of their source; it gave none, or not to all")
    uid_files.save(out / "uids.npy", set(source_uids.to_pylist()))


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, ROWS)):
        yield chunk


WRITERS: dict[str, Callable[[Path, Version, Pool], None]] = {
    "folder": _folder,
    "webdataset": _webdataset,
    "hf": _hf,
    "curator": _curator,
    "datacomp": _datacomp,
}
