"""Pictures with semantic masks in a folder: ADE20K, Pascal VOC, Cityscapes, or pictures beside masks.

From: the folder `dataset.path`, as its owner lays it out; licence and checksum are its owner's (every stored
image has its uid, a SHA-256). `dataset.options.layout` is one of these, or `auto`, the first that fits:

    ade20k      images/{training,validation}, annotations/{training,validation}: 0 is not judged, k the k-th
                of 150 classes, named by objectInfo150.txt (SceneParsing challenge, Zhou et al., CVPR 2017)
    cityscapes  leftImg8bit/{train,val}/CITY, gtFine/{train,val}/CITY: *_labelTrainIds.png, or else
                *_labelIds.png, both with the 19 classes of its benchmark (Cordts et al., CVPR 2016)
    voc         JPEGImages, SegmentationClass, ImageSets/Segmentation/{train,val}.txt: 21 classes with the
                background, 255 not judged (Everingham et al., IJCV 2010)
    folder      masks in masks/, semantic/ or annotations/, pictures in images/ or beside that folder, both by
                split (train*, val*, test*) or both without; classes.json in the masks' folder or above it

`classes.json` is a list of names, or value in the mask -> name, and goes before a layout's own names. A class
named `VOID_NAMES` is not judged, nor is 255 where it has no name. A mask is a png with its picture's name.
Pictures have no label. One without a mask is stored, without one; a mask without a picture is left out, with
a line that counts them. Training pictures are those of train, test pictures those of val (of test in `folder`
where there is no val); without splits about 10 % are for testing, by a hash of the key.

The order is that of the keys, SPLIT/NAME.
"""

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from winnow.config.bounds import one_of
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example, MaskClasses, Unreadable
from winnow.sources.formats import files, names, splits
from winnow.sources.formats.segmentation_layouts import FITS, LAYOUTS, Part

log = logging.getLogger(__name__)
VOID, MOST = 255, 254
VOID_NAMES = ("unlabeled", "unlabelled", "void", "ignore", "ignored")


@dataclass
class Config:
    layout: str = one_of("auto", *LAYOUTS)


def classes(config: Dataset) -> list[str]:
    """None: its pictures have no label."""
    return []


def mask_classes(config: Dataset) -> MaskClasses:
    """The classes of the masks.

    Raises:
        ParamsError: as `read`, or if it is not known what the values mean.
    """
    root, layout = _opened(config)
    named = _named(root, layout)
    judged = {value: name for value, name in named.items() if name.lower() not in VOID_NAMES}
    order = list(dict.fromkeys(judged[value] for value in sorted(judged)))
    if not 0 < len(order) <= MOST or not all(0 <= value < 1 << 16 for value in named):
        raise ParamsError(
            f"dataset.path: {root}: {len(order)} classes in masks of values {min(named, default=0)} to "
            f"{max(named, default=0)}; allowed: 1 to {MOST} classes, values 0 to 65535"
        )
    places = {name: place for place, name in enumerate(order)}
    values = {value: places[name] if value in judged else VOID for value, name in named.items()}
    return MaskClasses(tuple(order), {VOID: VOID} | values)


def read(config: Dataset) -> Iterator[Example]:
    """Yield every picture.

    Raises:
        ParamsError: if the folder has none of the layouts.
    """
    root, layout = _opened(config)
    parts = LAYOUTS[layout].parts(root)
    found = 0
    for part in parts:
        taken, pictures = set(), _pictures(part)
        for picture in pictures:
            found += 1
            key = names.text(f"{part.name}/{picture.as_posix()}" if part.name else picture.as_posix())
            mask = part.mask_of(picture)
            taken.add(mask)
            about = key, part.split or splits.by_hash(key), None, None
            if part.listed is None:
                example = files.example(part.pictures / picture, *about)
            else:
                example = files.listed(part.pictures, str(picture), *about)
            lost = isinstance(example, Unreadable)
            yield example if lost else replace(example, mask=_mask(part.masks / mask))
        if alone := len(set(_files(part.masks, ".png")) - taken) if part.whole else 0:
            log.warning("dataset.path: %s: left out %d masks without a picture", part.masks, alone)
    if not found:
        raise ParamsError(f"dataset.path: {root} holds no picture of the layout {layout!r}; mend the path")


def _mask(path: Path) -> bytes | None:
    """The bytes of a mask; None if there is none, and empty where it cannot be read."""
    try:
        return files.read(path)
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def _opened(config: Dataset) -> tuple[Path, str]:
    """The folder and its layout."""
    root = Path(config.path or "").expanduser()
    options: Config = plugin_config(Config, "dataset.options", config.options)
    fitting = [name for name in LAYOUTS if config.path and _fits(root, name)]
    if not config.path or not root.is_dir() or not fitting:
        needs = "; ".join(f"{name}: {' or '.join(patterns)}" for name, patterns in FITS.items())
        raise ParamsError(f"dataset.path: {config.path!r} has no masks; needed is one of {needs}")
    layout = fitting[0] if options.layout == "auto" else options.layout
    if layout not in fitting:
        needs = f"{' or '.join(FITS[layout])} is not there; fitting: auto, {', '.join(fitting)}"
        raise ParamsError(f"dataset.options.layout: {layout!r}: {needs}")
    return root, layout


def _fits(root: Path, layout: str) -> bool:
    return any(any(root.glob(pattern)) for pattern in FITS[layout])


def _pictures(part: Part) -> list[Path]:
    """Below part.pictures, sorted."""
    if part.listed is not None:
        return [Path(name) for name in part.listed]
    return _files(part.pictures, part.ending)


def _files(folder: Path, ending: str = "") -> list[Path]:
    found = (path for path in folder.rglob(f"*{ending}") if not path.is_dir() and path.name[0] != ".")
    return sorted(path.relative_to(folder) for path in found)


def _named(root: Path, layout: str) -> dict[int, str]:
    """Value in the masks -> name."""
    for path in LAYOUTS[layout].class_files(root):
        if path.is_file():
            return _listed(path)
    own = LAYOUTS[layout].classes(root)
    if own is None:
        example = '{"0": "unlabelled", "1": "road"}'
        raise ParamsError(f"dataset.path: {root} has no classes.json; write one: {example}")
    return own


def _listed(path: Path) -> dict[int, str]:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        pairs = given.items() if isinstance(given, dict) else enumerate(given)
        return {int(value): str(name) for value, name in pairs}
    except (OSError, ValueError, TypeError, RecursionError):
        raise ParamsError(
            f"dataset.path: {path} is no list of names, and no object of value: name; mend it"
        ) from None
