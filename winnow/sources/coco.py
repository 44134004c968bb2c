"""COCO annotations (Lin et al., arXiv 1405.0312): a json of images with captions or instances, and a folder.

From: the folder `dataset.path`, as cocodataset.org or a labelling tool lays it out; licence and checksum are
its owner's (every stored image has its uid, a SHA-256). `dataset.options.train` and `.test` each name
{annotations, images}, relative to `dataset.path`; without `test` about 10 % of the pictures are the test
split, by a hash of the key.

    caption   that of the lowest annotation id
    label     the category of the largest instance by `area`, crowds left out; of equal ones the lowest id
    objects   the instances of a picture, in the order of their ids: box, polygons or run-length encoding,
              area, crowd (winnow/pool/annotations.py); none where the json has no box and no segmentation

Categories meet by name: one id may stand for two names in two files. A picture without an instance is a
negative. Annotations of a picture that the json does not list are left out, with a line that counts them.

The order is that of the image ids. Keys are SPLIT/FILE_NAME.
"""

import json
import logging
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example, Object
from winnow.sources.formats import files, splits

log = logging.getLogger(__name__)
Facts = dict[str, Any]


@dataclass
class Part:
    annotations: str = "annotations/captions_train2017.json"
    images: str = "train2017"


@dataclass
class Config:
    train: Part = field(default_factory=Part)
    test: Part | None = None


def classes(config: Dataset) -> list[str]:
    """The names of the categories of all parts, by id, those of `train` first."""
    return _names(_load(config, name, part) for name, part in _parts(config).items())


def read(config: Dataset) -> Iterator[Example]:
    """Yield every picture that a part's annotations name.

    Raises:
        ParamsError: if a file is missing or no COCO json.
    """
    parts = _parts(config)
    loaded = {name: _load(config, name, part) for name, part in parts.items()}
    names = _names(loaded.values())
    for name, part in parts.items():
        yield from _part(config, name, part, loaded.pop(name), names)


def _part(config: Dataset, name: str, part: Part, facts: Facts, names: list[str]) -> Iterator[Example]:
    """The examples of one json."""
    label = {one["id"]: names.index(str(one["name"])) for one in facts["categories"]}
    captions, labels = _captions(facts), _largest(facts)
    objects = _objects(facts, label)
    root = Path(str(config.path)).expanduser() / part.images
    for image in sorted(facts["images"], key=lambda image: image["id"]):
        file, number = str(image["file_name"]), image["id"]
        key = f"{name}/{file}"
        split = splits.by_hash(key) if len(_parts(config)) == 1 else name
        category = labels.get(number)
        which = None if category is None else label[category]
        example = files.listed(root, file, key, split, which, captions.get(number))
        if objects is not None:
            example = replace(example, objects=tuple(objects.pop(number, ())), annotated_size=_size(image))
        yield example


def _parts(config: Dataset) -> dict[str, Part]:
    if not config.path or not Path(config.path).expanduser().is_dir():
        needs = "the coco source needs one with annotations and pictures"
        raise ParamsError(f"dataset.path: {config.path!r} is no folder; {needs}")
    options: Config = plugin_config(Config, "dataset.options", config.options)
    return {"train": options.train} | ({"test": options.test} if options.test else {})


def _load(config: Dataset, split: str, part: Part) -> Facts:
    """The json of a part, with every key that is read here, and without annotations of unlisted pictures."""
    path = Path(str(config.path)).expanduser() / part.annotations
    key = f"dataset.options.{split}.annotations: {part.annotations!r}"
    try:
        facts = json.loads(files.read(path))
        facts.setdefault("annotations", [])
        facts.setdefault("categories", [])
        for image in facts["images"]:
            image["id"], image["file_name"]
        for annotation in facts["annotations"]:
            annotation["id"], annotation["image_id"]
        categories = {one["id"]: str(one["name"]) for one in facts["categories"]}
        listed = {image["id"] for image in facts["images"]}
        sorted(categories), sorted(listed)
        named = [a for a in facts["annotations"] if "category_id" in a]
        unknown = [a for a in named if a["category_id"] not in categories]
    except OSError as error:
        why = f"cannot be read ({type(error).__name__}); give a json below dataset.path"
        raise ParamsError(f"{key} {why}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        why = "is no COCO json; it needs images (id, file_name) and annotations (id, image_id)"
        raise ParamsError(f"{key} {why}") from None
    if unknown:
        why = f"annotation {unknown[0]['id']!r} has the category_id {unknown[0]['category_id']!r}"
        allowed = "which is not in its categories; add it there, or delete the annotation"
        raise ParamsError(f"{key} {why}, {allowed} ({len(unknown)} such)")
    if len(listed) < len(facts["images"]):
        raise ParamsError(f"{key} lists two images with one id; give each its own")
    _drop_unlisted(facts, listed, key)
    return dict(facts)


def _drop_unlisted(facts: Facts, listed: set[Any], key: str) -> None:
    kept = [annotation for annotation in facts["annotations"] if annotation["image_id"] in listed]
    if lost := len(facts["annotations"]) - len(kept):
        log.warning("%s: left out %d annotations of pictures that it does not list", key, lost)
    facts["annotations"] = kept


def _names(parts: Iterator[Facts] | Any) -> list[str]:
    """The names of the categories, each once: by id within a part."""
    ordered = [sorted(facts["categories"], key=lambda one: one["id"]) for facts in parts]
    return list(dict.fromkeys(str(one["name"]) for categories in ordered for one in categories))


def _size(image: Facts) -> tuple[int, int] | None:
    """The width and height that the json gives an image."""
    size = image.get("width"), image.get("height")
    return size if all(isinstance(side, int) and side > 0 for side in size) else None  # type: ignore[return-value]


def _objects(facts: Facts, label: dict[Any, int]) -> dict[Any, list[Object]] | None:
    """Image id -> its objects; None if no annotation has a box or a segmentation."""
    things = [a for a in facts["annotations"] if "category_id" in a and ("bbox" in a or "segmentation" in a)]
    found: dict[Any, list[Object]] = defaultdict(list)
    for a in sorted(things, key=lambda a: a["id"]):
        about = label[a["category_id"]], a.get("bbox"), a.get("segmentation"), a.get("area")
        found[a["image_id"]].append(Object(*about, crowd=bool(a.get("iscrowd"))))
    return found if things else None


def _captions(facts: Facts) -> dict[int, str]:
    """Image id -> caption."""
    ordered = sorted(facts["annotations"], key=lambda annotation: -annotation["id"])
    with_caption = [annotation for annotation in ordered if annotation.get("caption")]
    return {annotation["image_id"]: " ".join(annotation["caption"].split()) for annotation in with_caption}


def _largest(facts: Facts) -> dict[int, int]:
    """Image id -> category id of its largest instance."""
    whole = [a for a in facts["annotations"] if "category_id" in a and not a.get("iscrowd")]
    ordered = sorted(whole, key=lambda annotation: (annotation.get("area") or 0, -annotation["id"]))
    return {annotation["image_id"]: annotation["category_id"] for annotation in ordered}
