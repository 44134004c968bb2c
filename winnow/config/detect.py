"""Which source reads what lies at a path or URL, and with which options.

shards         a folder or URL of .tar, one .tar, a-{0..9}.tar, or a .txt that lists them
a table        .parquet, .csv, .tsv
COCO           .json, its images in a folder near it; a folder with annotations/instances_*.json
Hugging Face   a folder with state.json, .arrow or .parquet
Pascal VOC     a folder with Annotations/*.xml
masks          a folder of pictures with semantic masks (winnow/sources/segmentation_folder.py)
class folders  any other folder
"""

import json
from pathlib import Path
from typing import Any

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError

COLUMNS = ("image", "label", "caption", "split")
FOLDERS = {
    "webdataset": ("*.tar",),
    "huggingface": ("state.json", "*/state.json", "*.arrow", "*.parquet", "*/*.parquet"),
    "voc": ("Annotations/*.xml",),
    "segmentation_folder": (
        "annotations/training/*.png",
        "gtFine/train/*/*_gtFine_label*Ids.png",
        "SegmentationClass/*.png",
        "masks/**/*.png",
        "semantic/**/*.png",
    ),
}


def detect(path: str) -> Dataset:
    """The settings of a dataset that read this path.

    Raises:
        ParamsError: when there is nothing, or nothing that a source reads.
    """
    file = Path(path).expanduser()
    if "://" in path or "{" in file.name or file.suffix in (".tar", ".txt"):
        return Dataset(source="webdataset", path=path)
    if file.suffix == ".json":
        return _coco(file)
    if file.suffix in (".csv", ".tsv") or (file.suffix == ".parquet" and not _is_hugging_face(file)):
        return Dataset(source="table", path=path, options=_columns(file))
    if not file.exists():
        raise ParamsError(
            f"{path}: no such path; give a pool, a version, params.yaml, or what a source reads"
        )
    if file.is_file():
        return Dataset(source="huggingface", path=path)
    if parts := _coco_parts(file):
        return Dataset(source="coco", path=path, options=parts)
    fitting = (kind for kind, patterns in FOLDERS.items() if any(any(file.glob(one)) for one in patterns))
    return Dataset(source=next(fitting, "folder"), path=path)


def _is_hugging_face(path: Path) -> bool:
    import pyarrow as pa  # here, because every stage imports the config
    import pyarrow.parquet as pq

    try:
        return b"huggingface" in (pq.ParquetFile(path).schema_arrow.metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _columns(path: Path) -> dict[str, str]:
    """The columns of a table that are named as what they hold; none where it cannot be read."""
    import pyarrow as pa
    import pyarrow.dataset as ds

    try:
        names = ds.dataset(path, format=path.suffix[1:]).schema.names
    except (OSError, ValueError, pa.ArrowException):
        return {}
    return {use: use for use in COLUMNS if use in names}


def _coco_parts(folder: Path) -> dict[str, dict[str, str]]:
    """Train and test of a folder with annotations/instances_*.json; empty where there is no train."""
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.glob("annotations/instances_*.json")):
        name = path.stem.removeprefix("instances_")
        split = "train" if name.startswith("train") else "test"
        if (folder / name).is_dir():
            found.setdefault(split, {"annotations": f"annotations/{path.name}", "images": name})
    return found if "train" in found else {}


def _coco(path: Path) -> Dataset:
    """The images' folder is the nearest that has the first file: beside the json, or beside its folder."""
    try:
        facts: Any = json.loads(path.read_text(encoding="utf-8"))
        name = str(facts["images"][0]["file_name"])
    except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError):
        raise ParamsError(f"{path}: is no COCO json with images; give annotations, or params.yaml") from None
    folder = path.resolve().parent
    root = folder.parent
    near = [folder, *sorted(folder.iterdir()), root, *sorted(root.iterdir())]
    images = next((one for one in near if (one / name).is_file()), folder)
    part = {"annotations": str(path.resolve().relative_to(root)), "images": str(images.relative_to(root))}
    return Dataset(source="coco", path=str(root), options={"train": part})
