"""A version as files of its own, for tools that know nothing of Winnow. Training here needs none: it reads the pool by uid.

    folder       OUT/CLASS/UID.ext, and OUT/UID.ext without a class: torchvision's ImageFolder
    webdataset   OUT/shard-000000.tar of UID.ext, UID.cls, UID.txt, UID.json, and OUT/classes.json: webdataset, img2dataset
    hf           OUT/data/train-00000.parquet with image {bytes, path}, label, caption: datasets.load_dataset("parquet", data_dir=OUT)

The same version gives the same bytes. Written beside OUT and moved there when whole, so that half an export is never taken for one.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stages.data import uids as uid_files
from stages.data.pool import MAX_BYTES, MAX_COUNT, Pool

ROWS = 1000  # of a row group


@dataclass(frozen=True)
class Item:
    uid: str
    ext: str
    data: bytes
    label: int  # -1: none
    caption: str | None


def export(version: Path, pool: Pool, out: Path, kind: str) -> int:
    """Write the version's images as `kind`, one of `WRITERS`; how many there are.

    Raises:
        ValueError: if there is no version, OUT exists already, or the pool lacks one of its images.
    """
    try:
        uids = uid_files.load(version / "uids.npy")
    except OSError as error:
        raise ValueError(f"{version}: no version there ({type(error).__name__}); give a folder with uids.npy, or its name") from None
    if out.exists():
        raise ValueError(f"{out}: is there already; give another place, or remove it")
    rows = pool.rows(uids)
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    WRITERS[kind](partial, _items(pool, uids, rows.tolist()), pool.classes)
    os.replace(partial, out)
    return len(uids)


def _items(pool: Pool, uids: list[str], rows: list[int]) -> Iterator[Item]:
    table = pool.table.select(["ext", "label", "caption"]).take(rows)
    for uid, row, facts in zip(uids, rows, table.to_pylist(), strict=True):
        yield Item(uid, facts["ext"], pool.read(row), facts["label"], facts["caption"])


def _folder(out: Path, items: Iterator[Item], classes: list[str]) -> None:
    names = [name.replace("/", "_").replace("\0", "_").lstrip(".") or "_" for name in classes]
    if len(set(names)) != len(names):
        raise ValueError("two classes have one name as a folder; export as webdataset or hf")
    for item in items:
        folder = out / names[item.label] if item.label >= 0 else out
        folder.mkdir(exist_ok=True)
        (folder / f"{item.uid}.{item.ext}").write_bytes(item.data)


def _webdataset(out: Path, items: Iterator[Item], classes: list[str]) -> None:
    from webdataset.writer import ShardWriter

    (out / "classes.json").write_text(json.dumps(classes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    pattern = str(out.resolve()).replace("%", "%%") + "/shard-%06d.tar"
    with ShardWriter(pattern, MAX_COUNT, MAX_BYTES, verbose=0, mtime=0, encoder=False) as shards:
        for item in items:
            members = {item.ext: item.data, "json": json.dumps({"uid": item.uid}).encode()}
            members |= {"cls": str(item.label).encode()} if item.label >= 0 else {}
            members |= {"txt": item.caption.encode("utf-8", "replace")} if item.caption is not None else {}
            shards.write({"__key__": item.uid, **members})


def _hf(out: Path, items: Iterator[Item], classes: list[str]) -> None:
    label = {"names": classes, "_type": "ClassLabel"} if classes else {"dtype": "int64", "_type": "Value"}
    features = {"image": {"_type": "Image"}, "label": label, "caption": {"dtype": "string", "_type": "Value"}}
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema({"image": image, "label": pa.int64(), "caption": pa.string()}, metadata=about)
    (out / "data").mkdir()
    with pq.ParquetWriter(out / "data/train-00000.parquet", schema) as writer:
        while chunk := list(islice(items, ROWS)):
            columns = [
                pa.array([{"bytes": item.data, "path": f"{item.uid}.{item.ext}"} for item in chunk], image),
                pa.array([item.label if item.label >= 0 else None for item in chunk], pa.int64()),
                pa.array([item.caption for item in chunk], pa.string()),
            ]
            writer.write_table(pa.table(columns, schema=schema))


WRITERS: dict[str, Callable[[Path, Iterator[Item], list[str]], None]] = {"folder": _folder, "webdataset": _webdataset, "hf": _hf}
