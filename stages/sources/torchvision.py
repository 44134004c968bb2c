"""Any classification set of torchvision.datasets that lies on this machine: ImageNet, Places365, Food101, CIFAR10, EuroSAT, SUN397, ...

From: the folder `dataset.path`, which is the class's `root`; licence and checksum are the set's own (torchvision checks
some; every stored image has its uid, a SHA-256). Nothing is downloaded: put the files there as torchvision's
documentation of the class says. `dataset.options.name` is the class; `train` and `test` are the arguments that choose its
splits. Where they are null they are found by the class's signature:

    train     true, and false
    split     train, trainval or train-standard; and test or val
    neither   about 10 % are test by a hash of the key

A test split without labels (Places365) gives way to val. A target must be a class, or VOCDetection's objects: then it is the largest
that is not difficult, of equal ones the first. Sets with other targets (segmentation, flow, stereo, video) are refused in one line.

Pictures that are files are kept byte for byte where the class says which they are, others are written as png. Keys are SPLIT-NUMBER,
in the class's order; where it lists folders as the file system gives them (SUN397, INaturalist), in that of the files' names.
Captions: "a photo of CLASS".
"""

import inspect
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.data import uids
from stages.data.images import to_png
from stages.params import Dataset, ParamsError, plugin_config
from stages.sources import Example
from stages.sources._lost import Lost

SPLITS = {"train": ("train", "trainval", "train-standard"), "test": ("test", "val")}
TEST_FRACTION = 0.1
VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass
class Config:
    name: str = "???"
    train: dict[str, Any] | None = None
    test: dict[str, Any] | None = None


def classes(config: Dataset) -> list[str]:
    """The names that the class gives; without any, the numbers up to the highest label."""
    return _names(_open(config))


def captions(config: Dataset) -> list[str]:
    """The caption that each class's images have."""
    return [_caption(name) for name in classes(config)]


def count(config: Dataset) -> int:
    """How many examples there are."""
    return sum(map(len, _open(config).values()))


def read(config: Dataset) -> Iterator[Example]:
    """Yield every example of both splits.

    Raises:
        ParamsError: when torchvision has no such class, or cannot open it in this folder.
    """
    sets = _open(config)
    names = _names(sets)
    for split, data in sets.items():
        files = _files(data)
        for number, place in enumerate(_order(data)):
            key = f"{split}-{number:08d}"
            part = "test" if len(sets) == 1 and uids.fraction("split", key) < TEST_FRACTION else split
            try:
                image, target = data[place]
                image = _bytes(files[place]) if files else _encoded(image)
                label = _label(target, names, type(data).__name__)
            except ParamsError:
                raise
            except Exception as error:  # whatever the class's decoder raises, it is this one picture that is lost
                yield Lost(key, b"", part, reason=f"unreadable_{type(error).__name__}")
                continue
            if label is not None and not 0 <= label < len(names):
                yield Lost(key, b"", part, reason="label_out_of_range")
            else:
                yield Example(key, image, part, label, None if label is None else _caption(names[label]))


def _label(target: Any, names: list[str], name: str) -> int | None:
    """The class of a target; -1 where it is none of `names`."""
    if target is None:
        return None
    if isinstance(target, dict) and "annotation" in target:
        return _largest(target["annotation"].get("object", []), names)
    try:
        return operator.index(target)
    except TypeError:
        kind = type(target).__name__
        raise ParamsError(f"dataset.options.name: {name} gives no classes but {kind} as targets; choose a classification set") from None


def _largest(objects: list[dict[str, Any]], names: list[str]) -> int | None:
    """The class of the largest box, difficult ones left out."""
    best, label = 0.0, None
    for found in objects:
        box = {side: float(value) for side, value in found["bndbox"].items() if isinstance(value, str)}
        area = (box["xmax"] - box["xmin"]) * (box["ymax"] - box["ymin"])
        if found.get("difficult") != "1" and area > best:
            best, label = area, names.index(found["name"]) if found["name"] in names else -1
    return label


def _files(data: Any) -> list[str | Path] | None:
    """The pictures' files, where a class that takes no loader lists them."""
    for name in ("images", "_images"):
        found = getattr(data, name, None)
        if isinstance(found, list) and len(found) == len(data) and all(isinstance(path, str | Path) for path in found):
            return found
    return None


def _order(data: Any) -> list[int]:
    names = getattr(data, "_image_files", None) or getattr(data, "index", None)
    numbers = range(len(data))
    if not isinstance(names, list) or len(names) != len(data) or isinstance(names[0], int):
        return list(numbers)
    return sorted(numbers, key=lambda number: str(names[number]) if isinstance(names[0], str | Path) else names[number])


def _encoded(image: Any) -> bytes:
    """A loader's bytes; the file of a picture just opened; else png."""
    if isinstance(image, bytes):
        return image
    return _bytes(image.filename) if getattr(image, "filename", "") else to_png(image)


def _open(config: Dataset) -> dict[str, Any]:
    from torchvision import datasets  # here, because it costs seconds

    options: Config = plugin_config(Config, "dataset.options", config.options)
    kind = getattr(datasets, options.name, None)
    if not inspect.isclass(kind):
        known = [name for name in dir(datasets) if inspect.isclass(getattr(datasets, name))]
        raise ParamsError(f"dataset.options.name: {options.name!r} is no class of torchvision.datasets; allowed: {', '.join(known)}")
    if not config.path or not Path(config.path).expanduser().is_dir():
        raise ParamsError(f"dataset.path: {config.path!r} is no folder; give the root of {options.name}")
    wanted = inspect.signature(kind.__init__).parameters
    fixed = {"loader": _bytes} if "loader" in wanted or options.name == "ImageNet" else {}
    found = {}
    for split in ("train", "test"):
        given = getattr(options, split)
        choices = [given] if given is not None else _choices(split, list(wanted), options.name)
        if choices:
            found[split] = _first(kind, str(Path(config.path).expanduser()), choices, fixed)
    return found


def _choices(split: str, wanted: list[str], name: str) -> list[dict[str, Any]]:
    """Arguments that may choose a split, the likeliest first; none for the test split of a class that has no splits."""
    if "train" in wanted:
        return [{"train": split == "train"}]
    if "split" in wanted:
        return [{"split": value} for value in SPLITS[split]]
    if "image_set" in wanted and "year" in wanted:
        return [{"image_set": value} for value in SPLITS[split] if value != "train-standard"]
    if name == "INaturalist":
        return [{"version": "2021_train" if split == "train" else "2021_valid", "target_type": "full"}]
    return [{}] if split == "train" else []


def _first(kind: Any, root: str, choices: list[dict[str, Any]], fixed: dict[str, Any]) -> Any:
    why: Exception | None = None
    for choice in choices:
        try:
            data = kind(root, **choice, **fixed)
            if len(choices) == 1 or set(getattr(data, "targets", [0])) != {None}:
                return data
            why = ValueError(f"{choice} has no labels")
        except ValueError as error:  # torchvision's word for a split that the class does not have
            why = error
        except Exception as error:
            why = error
            break
    reason = " ".join(str(why).split())
    raise ParamsError(f"dataset.path: torchvision's {kind.__name__} cannot open {root} with {choices[-1]}: {reason}")


def _bytes(path: str | Path) -> bytes:
    return Path(path).read_bytes()


def _names(sets: dict[str, Any]) -> list[str]:
    data = next(iter(sets.values()))
    if hasattr(data, "parse_voc_xml"):
        return list(VOC)
    names = getattr(data, "classes", None) or getattr(data, "categories", None) or getattr(data, "all_categories", None)
    if names:
        return [str(name[0] if isinstance(name, tuple) else name) for name in names]
    kind = type(data).__name__
    highest = max((_label(target, [], kind) for data in sets.values() for target in _labels(data)), key=lambda label: label or 0)
    return [str(n) for n in range(1 + (-1 if highest is None else highest))]


def _labels(data: Any) -> Any:
    """All labels of a class without names; torchvision's classes call them differently."""
    for name in ("targets", "labels", "_labels", "y"):
        if (found := getattr(data, name, None)) is not None:
            return found
    return (data[number][1] for number in range(len(data)))


def _caption(name: str) -> str:
    return f"a photo of {name.replace('_', ' ')}"
