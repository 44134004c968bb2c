"""Pascal VOC (Everingham et al., IJCV 2010): JPEGImages, Annotations/NAME.xml and ImageSets/Main/LIST.txt.

From: the folder `dataset.path`, such as VOCdevkit/VOC2012 (host.robots.ox.ac.uk/pascal/VOC; the pictures are
under their Flickr terms) or what a labelling tool exports in that layout; licence and checksum are its
owner's (every stored image has its uid, a SHA-256). `dataset.options.train` and `.test` name lists of
ImageSets/Main: train, val, trainval, test. Without `test` about 10 % of the pictures are the test split, by a
hash of the key; without `train`, where there are no lists, every file of Annotations is read.

    objects   the boxes; VOC counts pixels from 1, both ends included, so a box of xmin 1 and xmax 10 is here
              x 0 and width 10
    label     the class of the largest object that is not difficult; of equal ones the first

`difficult` objects are what VOC's evaluation ignores: `options.difficult` may be `ignore` (a crowd: left out
of training, and a detection inside one is neither right nor wrong), `keep` (an object like any other) or
`drop`. A picture whose xml has no object is a negative; one without an xml is stored, and not annotated.

The order is that of the list. Keys are SPLIT/NAME.
"""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from winnow.config.bounds import one_of
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example, Object
from winnow.sources.formats import files, splits

LISTS = "ImageSets/Main"


@dataclass
class Config:
    train: str | None = "train"
    test: str | None = "val"
    difficult: str = one_of("ignore", "keep", "drop")


@dataclass(frozen=True)
class _Sheet:
    """An xml: the picture's file name and size, where given, and name, box and difficulty of each object."""

    file: str | None
    size: tuple[int, int] | None
    objects: list[tuple[str, list[float] | None, bool]]


def classes(config: Dataset) -> list[str]:
    """The names of the objects of all lists, sorted.

    Raises:
        ParamsError: as `read`.
    """
    root, options = _opened(config)
    sheets = (_sheet(root, name) for names in _lists(root, options).values() for name in names)
    return sorted({name for sheet in sheets if sheet for name, _, _ in sheet.objects})


def read(config: Dataset) -> Iterator[Example]:
    """Yield every picture of the lists.

    Raises:
        ParamsError: if a folder or list is missing, or an xml is no annotation.
    """
    root, options = _opened(config)
    index = {name: place for place, name in enumerate(classes(config))}
    lists = _lists(root, options)
    for split, names in lists.items():
        for name in names:
            key = f"{split}/{name}"
            where = splits.by_hash(key) if len(lists) == 1 else split
            yield _example(root, name, key, where, index, options)


def _example(root: Path, name: str, key: str, split: str, index: dict[str, int], options: Config) -> Example:
    sheet = _sheet(root, name)
    file = f"{name}.jpg"
    if sheet and sheet.file and not (root / "JPEGImages" / file).exists():
        file = sheet.file  # labelling tools also write png
    if sheet is None:
        return files.listed(root / "JPEGImages", file, key, split, None, None)
    marked = [(Object(index[one], box, crowd=hard), hard) for one, box, hard in sheet.objects]
    label = _largest([thing for thing, hard in marked if not hard])
    kept = [thing for thing, hard in marked if not hard or options.difficult != "drop"]
    if options.difficult == "keep":
        kept = [replace(thing, crowd=False) for thing in kept]
    example = files.listed(root / "JPEGImages", file, key, split, label, None)
    return replace(example, objects=tuple(kept), annotated_size=sheet.size)


def _largest(things: list[Object]) -> int | None:
    areas = [thing.box[2] * thing.box[3] if thing.box else 0.0 for thing in things]
    return things[areas.index(max(areas))].category if things else None


def _opened(config: Dataset) -> tuple[Path, Config]:
    root = Path(config.path or "").expanduser()
    if not config.path or not (root / "Annotations").is_dir():
        needs = "the voc source needs a folder with JPEGImages and Annotations, such as VOCdevkit/VOC2012"
        raise ParamsError(f"dataset.path: {config.path!r} has no folder Annotations; {needs}")
    options: Config = plugin_config(Config, "dataset.options", config.options)
    return root, options


def _lists(root: Path, options: Config) -> dict[str, list[str]]:
    """Split -> the names of its pictures, each once."""
    if options.train is None:
        return {"train": sorted(path.stem for path in (root / "Annotations").glob("*.xml"))}
    named = {"train": options.train} | ({"test": options.test} if options.test else {})
    return {split: _listed(root, split, name) for split, name in named.items()}


def _listed(root: Path, split: str, name: str) -> list[str]:
    try:
        lines = files.read(root / LISTS / f"{name}.txt").decode("utf-8").splitlines()
    except (OSError, ValueError) as error:
        there = ", ".join(sorted(p.stem for p in (root / LISTS).glob("*.txt") if "_" not in p.stem)) or "none"
        why = f"{LISTS}/{name}.txt cannot be read ({type(error).__name__}); lists there: {there}"
        raise ParamsError(
            f"dataset.options.{split}: {name!r}: {why}; null reads all of Annotations"
        ) from None
    return list(dict.fromkeys(line.split()[0] for line in lines if line.strip()))


def _sheet(root: Path, name: str) -> _Sheet | None:
    """The annotation of a picture; None if it has none."""
    path = root / "Annotations" / f"{name}.xml"
    try:
        top = ET.fromstring(files.read(path))
        return _Sheet(top.findtext("filename"), _size(top), [_object(one) for one in top.iter("object")])
    except FileNotFoundError:
        return None
    except (OSError, ET.ParseError, ValueError, TypeError) as error:
        why = f"is no VOC annotation ({str(error).splitlines()[0]}); mend or delete it"
        raise ParamsError(f"dataset.path: Annotations/{name}.xml {why}") from None


def _size(top: ET.Element) -> tuple[int, int] | None:
    width, height = (int(top.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    return (width, height) if min(width, height) > 0 else None


def _object(one: ET.Element) -> tuple[str, list[float] | None, bool]:
    """Name, box and whether it is difficult; a ValueError if it has no name or its numbers are none."""
    name, box = one.findtext("name"), one.find("bndbox")
    if not name:
        raise ValueError("an object without a name")
    hard = (one.findtext("difficult") or "0").strip() == "1"
    if box is None:
        return name.strip(), None, hard
    left, top, right, bottom = (float(box.findtext(key) or "nan") for key in ("xmin", "ymin", "xmax", "ymax"))
    return name.strip(), [left - 1, top - 1, right - left + 1, bottom - top + 1], hard
