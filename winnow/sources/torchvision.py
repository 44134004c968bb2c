"""Any classification set of torchvision.datasets on this machine: ImageNet, Places365, CIFAR10, ...

From: the folder `dataset.path`, which is the class's `root`; licence and checksum are the set's own
(torchvision checks some; every stored image has its uid, a SHA-256). Nothing is downloaded: put the files
there as torchvision's documentation of the class says. `dataset.options.name` is the class; `train` and
`test` are the arguments that choose its splits. Where they are null they are found by the class's signature:

    train     true, and false
    split     train, trainval or train-standard; and test or val
    neither   about 10 % are the test split, by a hash of the key

If a test split has no labels (Places365), val is used instead. A target must be a class, or VOCDetection's
objects: then it is the largest that is not difficult, of equal ones the first. Sets with other targets
(segmentation, flow, stereo, video) are refused in one line.

Pictures that are files are kept byte for byte where the class says which they are, others are written as png.
Keys are SPLIT-NUMBER, in the class's order; where it lists folders as the file system gives them (SUN397,
INaturalist), in that of the files' names. Captions: "a photo of CLASS".
"""

import inspect
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.ingest.example import Example, Unreadable
from winnow.pool.images import to_png
from winnow.sources.formats import files, splits
from winnow.sources.formats.names import caption

CHOICES = {"train": ("train", "trainval", "train-standard"), "test": ("test", "val")}
VOC = (  # sorted, as the labels of its annotations are
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@dataclass
class Config:
    name: str = "???"
    train: dict[str, Any] | None = None
    test: dict[str, Any] | None = None


def classes(config: Dataset) -> list[str]:
    """The names that the torchvision class gives; without any, the numbers up to the highest label."""
    return _names(_open(config))


def captions(config: Dataset) -> list[str]:
    """The caption that each class's images have."""
    return [caption(name) for name in classes(config)]


def count(config: Dataset) -> int:
    """How many examples there are."""
    return sum(map(len, _open(config).values()))


def read(config: Dataset) -> Iterator[Example]:
    """Yield every example of both splits.

    Raises:
        ParamsError: if torchvision has no such class, or cannot open it in this folder.
    """
    sets = _open(config)
    names = _names(sets)
    for split, data in sets.items():
        paths = _paths(data)
        for number, place in enumerate(_order(data)):
            key = f"{split}-{number:08d}"
            yield _example(data, place, paths, key, splits.by_hash(key) if len(sets) == 1 else split, names)


def _example(
    data: Any, place: int, paths: list[str | Path] | None, key: str, split: str, names: list[str]
) -> Example:
    try:
        if paths:
            files.check(paths[place])  # before the class opens it
        image, target = data[place]
        encoded = files.read(paths[place]) if paths else _encoded(image)
        label = _label(target, names, type(data).__name__)
    except ParamsError:
        raise
    except files.NotAFile:
        return Unreadable(key, b"", split, reason="not_a_file")
    except Exception as error:  # whatever the class's decoder raises, only this picture is lost
        return Unreadable(key, b"", split, reason=f"unreadable_{type(error).__name__}")
    if label is None:
        return Example(key, encoded, split)
    if not 0 <= label < len(names):
        return Unreadable(key, b"", split, reason="label_out_of_range")
    return Example(key, encoded, split, label, caption(names[label]))


def _label(target: Any, names: list[str], name: str) -> int | None:
    """The class of a target; -1 if it is none of `names`."""
    if target is None:
        return None
    if isinstance(target, dict) and "annotation" in target:
        return _largest(target["annotation"].get("object", []), names)
    try:
        return operator.index(target)
    except TypeError:
        why = f"gives no classes but {type(target).__name__} as targets; choose a classification set"
        raise ParamsError(f"dataset.options.name: {name} {why}") from None


def _largest(objects: list[dict[str, Any]], names: list[str]) -> int | None:
    """The class of the largest box that is not difficult; -1 if it is none of `names`."""
    best, label = 0.0, None
    for found in objects:
        box = {side: float(value) for side, value in found["bndbox"].items() if isinstance(value, str)}
        area = (box["xmax"] - box["xmin"]) * (box["ymax"] - box["ymin"])
        if found.get("difficult") != "1" and area > best:
            best, label = area, names.index(found["name"]) if found["name"] in names else -1
    return label


def _paths(data: Any) -> list[str | Path] | None:
    """The pictures' files, where a class that takes no loader lists them."""
    for name in ("images", "_images"):
        found = getattr(data, name, None)
        if not isinstance(found, list) or len(found) != len(data):
            continue
        if all(isinstance(path, str | Path) for path in found):
            return found
    return None


def _order(data: Any) -> list[int]:
    """All indices: the class's own order, or that of the files' names if it lists folders by itself."""
    names = getattr(data, "_image_files", None) or getattr(data, "index", None)
    numbers = range(len(data))
    if not isinstance(names, list) or len(names) != len(data) or isinstance(names[0], int):
        return list(numbers)
    if isinstance(names[0], str | Path):
        names = [str(name) for name in names]
    return sorted(numbers, key=names.__getitem__)


def _encoded(image: Any) -> bytes:
    """A loader's bytes; the file of a picture just opened; else png."""
    if isinstance(image, bytes):
        return image
    return files.read(image.filename) if getattr(image, "filename", "") else to_png(image)


def _open(config: Dataset) -> dict[str, Any]:
    from torchvision import datasets  # here, because it costs seconds

    options: Config = plugin_config(Config, "dataset.options", config.options)
    kind = getattr(datasets, options.name, None)
    if not inspect.isclass(kind):
        known = ", ".join(name for name in dir(datasets) if inspect.isclass(getattr(datasets, name)))
        why = f"is no class of torchvision.datasets; allowed: {known}"
        raise ParamsError(f"dataset.options.name: {options.name!r} {why}")
    if not config.path or not Path(config.path).expanduser().is_dir():
        raise ParamsError(f"dataset.path: {config.path!r} is no folder; give the root of {options.name}")
    arguments = list(inspect.signature(kind.__init__).parameters)
    fixed = {"loader": files.read} if "loader" in arguments or options.name == "ImageNet" else {}
    found = {}
    for split in ("train", "test"):
        given = getattr(options, split)
        choices = [given] if given is not None else _choices(split, arguments, options.name)
        if choices:
            found[split] = _first(kind, str(Path(config.path).expanduser()), choices, fixed)
    return found


def _choices(split: str, arguments: list[str], name: str) -> list[dict[str, Any]]:
    """Arguments that may choose a split, the likeliest first; none for the test split of a class without."""
    if "train" in arguments:
        return [{"train": split == "train"}]
    if "split" in arguments:
        return [{"split": value} for value in CHOICES[split]]
    if "image_set" in arguments and "year" in arguments:
        return [{"image_set": value} for value in CHOICES[split] if value != "train-standard"]
    if name == "INaturalist":
        return [{"version": "2021_train" if split == "train" else "2021_valid", "target_type": "full"}]
    return [{}] if split == "train" else []


def _first(kind: Any, root: str, choices: list[dict[str, Any]], fixed: dict[str, Any]) -> Any:
    """The torchvision class opened with the first arguments that work."""
    why: Exception | None = None
    for choice in choices:
        try:
            data = kind(root, **choice, **fixed)
            if len(choices) == 1 or set(getattr(data, "targets", [0])) != {None}:
                return data
            why = ValueError(f"{choice} has no labels")
        except ValueError as error:  # what torchvision raises for a split that the class does not have
            why = error
        except Exception as error:
            why = error
            break
    reason = " ".join(str(why).split())
    opening = f"torchvision's {kind.__name__} cannot open {root} with {choices[-1]}"
    raise ParamsError(f"dataset.path: {opening}: {reason}")


def _names(sets: dict[str, Any]) -> list[str]:
    data = next(iter(sets.values()))
    if hasattr(data, "parse_voc_xml"):
        return list(VOC)
    for attribute in ("classes", "categories", "all_categories"):
        if names := getattr(data, attribute, None):
            return [str(name[0] if isinstance(name, tuple) else name) for name in names]
    kind = type(data).__name__
    labels = [_label(target, [], kind) for data in sets.values() for target in _labels(data)]
    highest = max(labels, key=lambda label: label or 0)
    return [str(n) for n in range(1 + (-1 if highest is None else highest))]


def _labels(data: Any) -> Any:
    """All labels of a class without names, under one of the names that torchvision gives them."""
    for name in ("targets", "labels", "_labels", "y"):
        if (found := getattr(data, name, None)) is not None:
            return found
    return (data[number][1] for number in range(len(data)))
