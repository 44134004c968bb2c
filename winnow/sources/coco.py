"""COCO annotations (Lin et al., arXiv 1405.0312): a json of images with captions or instances, and a folder.

From: the folder `dataset.path`, as cocodataset.org or a labelling tool lays it out; licence and checksum are
its owner's (every stored image has its uid, a SHA-256). `dataset.options.train` and `.test` each name
{annotations, images}, relative to `dataset.path`; without `test` about 10 % of the pictures are the test
split, by a hash of the key.

    caption   that of the lowest annotation id
    label     the category of the largest instance by `area`, crowds left out; of equal ones the lowest id

The order is that of the image ids. Keys are SPLIT/FILE_NAME.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example
from winnow.sources.formats import files, splits


@dataclass
class Part:
    annotations: str = "annotations/captions_train2017.json"
    images: str = "train2017"


@dataclass
class Config:
    train: Part = field(default_factory=Part)
    test: Part | None = None


def classes(config: Dataset) -> list[str]:
    """The names of the categories of all parts, by id."""
    return list(_categories(config).values())


def read(config: Dataset) -> Iterator[Example]:
    """Yield every picture that a part's annotations name.

    Raises:
        ParamsError: if a file is missing or no COCO json.
    """
    parts = _parts(config)
    label = {category: place for place, category in enumerate(_categories(config))}
    for name, part in parts.items():
        facts = _load(config, name, part)
        captions, labels = _captions(facts), _largest(facts)
        root = Path(str(config.path)).expanduser() / part.images
        for image in sorted(facts["images"], key=lambda image: image["id"]):
            file, number = str(image["file_name"]), image["id"]
            key = f"{name}/{file}"
            split = splits.by_hash(key) if len(parts) == 1 else name
            category = labels.get(number)
            which = None if category is None else label[category]
            yield files.listed(root, file, key, split, which, captions.get(number))


def _parts(config: Dataset) -> dict[str, Part]:
    if not config.path or not Path(config.path).expanduser().is_dir():
        needs = "the coco source needs one with annotations and pictures"
        raise ParamsError(f"dataset.path: {config.path!r} is no folder; {needs}")
    options: Config = plugin_config(Config, "dataset.options", config.options)
    return {"train": options.train} | ({"test": options.test} if options.test else {})


def _load(config: Dataset, split: str, part: Part) -> dict[str, Any]:
    path = Path(str(config.path)).expanduser() / part.annotations
    key = f"dataset.options.{split}.annotations: {part.annotations!r}"
    try:
        facts = json.loads(files.read(path))
        for image in facts["images"]:
            image["id"], image["file_name"]
        for annotation in facts.get("annotations", []):
            annotation["id"], annotation["image_id"]
    except OSError as error:
        why = f"cannot be read ({type(error).__name__}); give a json below dataset.path"
        raise ParamsError(f"{key} {why}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        why = "is no COCO json; it needs images (id, file_name) and annotations (id, image_id)"
        raise ParamsError(f"{key} {why}") from None
    assert isinstance(facts, dict)
    return facts


def _categories(config: Dataset) -> dict[int, str]:
    """Category id -> name, by id; only instances have any."""
    found = {}
    for split, part in _parts(config).items():
        for category in _load(config, split, part).get("categories", []):
            found[category["id"]] = str(category["name"])
    return dict(sorted(found.items()))


def _captions(facts: dict[str, Any]) -> dict[int, str]:
    """Image id -> caption."""
    ordered = sorted(facts.get("annotations", []), key=lambda annotation: -annotation["id"])
    with_caption = [annotation for annotation in ordered if annotation.get("caption")]
    return {annotation["image_id"]: " ".join(annotation["caption"].split()) for annotation in with_caption}


def _largest(facts: dict[str, Any]) -> dict[int, int]:
    """Image id -> category id of its largest instance."""
    whole = [a for a in facts.get("annotations", []) if "category_id" in a and not a.get("iscrowd")]
    ordered = sorted(whole, key=lambda annotation: (annotation.get("area", 0), -annotation["id"]))
    return {annotation["image_id"]: annotation["category_id"] for annotation in ordered}
