"""Any classification set of torchvision.datasets that lies on this machine: ImageNet, Places365, Food101, CIFAR10, EuroSAT, SUN397, ...

From: the folder `dataset.path`, which is the class's `root`; licence and checksum are the set's own (torchvision checks
some; every stored image has its uid, a SHA-256). Nothing is downloaded: put the files there as torchvision's
documentation of the class says. `dataset.options.name` is the class; `train` and `test` are the arguments that choose its
splits. Where they are null they are found by the class's signature:

    train     true, and false
    split     train, trainval or train-standard; and test or val
    neither   about 10 % are test by a hash of the key

Pictures that are files are kept byte for byte where the class lets its loader be replaced, others are written as png.
Keys are SPLIT-NUMBER, in the class's order. Captions: "a photo of CLASS".
"""

import inspect
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


def read(config: Dataset) -> Iterator[Example]:
    """Yield every example of both splits.

    Raises:
        ParamsError: when torchvision has no such class, or cannot open it in this folder.
    """
    sets = _open(config)
    names = _names(sets)
    for split, data in sets.items():
        for number in range(len(data)):
            key = f"{split}-{number:08d}"
            place = "test" if len(sets) == 1 and uids.fraction("split", key) < TEST_FRACTION else split
            try:
                image, label = data[number]
            except Exception as error:  # whatever the class's decoder raises, it is this one picture that is lost
                yield Lost(key, b"", place, reason=f"unreadable_{type(error).__name__}")
                continue
            yield Example(key, image if isinstance(image, bytes) else to_png(image), place, int(label), _caption(names[int(label)]))


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
    if name == "INaturalist":
        return [{"version": "2021_train" if split == "train" else "2021_valid", "target_type": "full"}]
    return [{}] if split == "train" else []


def _first(kind: Any, root: str, choices: list[dict[str, Any]], fixed: dict[str, Any]) -> Any:
    why: Exception | None = None
    for choice in choices:
        try:
            return kind(root, **choice, **fixed)
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
    names = getattr(data, "classes", None) or getattr(data, "categories", None) or getattr(data, "all_categories", None)
    if names:
        return [str(name[0] if isinstance(name, tuple) else name) for name in names]
    return [str(n) for n in range(1 + max(int(label) for data in sets.values() for label in _labels(data)))]


def _labels(data: Any) -> Any:
    """All labels of a class without names; torchvision's classes call them differently."""
    for name in ("targets", "labels", "_labels", "y"):
        if (found := getattr(data, name, None)) is not None:
            return found
    return (data[number][1] for number in range(len(data)))


def _caption(name: str) -> str:
    return f"a photo of {name.replace('_', ' ')}"
