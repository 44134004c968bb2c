"""How data sets for semantic segmentation lie in their folders, and what the values of their masks mean."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from winnow.config.errors import ParamsError
from winnow.sources.formats import files

Classes = dict[int, str]


@dataclass(frozen=True)
class Part:
    """The pictures of one split, None where a hash decides, and their masks.

    `mask_of` gives the mask's path below `masks` of a picture's below `pictures`. `listed` are the pictures;
    None for all files whose name has this `ending`. `whole`: whether no other part's masks lie in `masks`.
    """

    name: str
    split: str | None
    pictures: Path
    masks: Path
    mask_of: Callable[[Path], Path]
    ending: str = ""
    listed: Sequence[str] | None = None
    whole: bool = True


@dataclass(frozen=True)
class Layout:
    """`parts(root)`, the layout's own `classes(root)`, if any, and where a classes.json may lie."""

    parts: Callable[[Path], list[Part]]
    classes: Callable[[Path], Classes | None]
    class_files: Callable[[Path], list[Path]] = lambda root: [root / "classes.json"]


MASK_FOLDERS = ("masks", "semantic", "annotations")
# What is found in a folder of the layout: one of these.
FITS = {
    "ade20k": ("annotations/training/*.png",),
    "cityscapes": ("gtFine/train/*/*_gtFine_label*Ids.png",),
    "voc": ("SegmentationClass/*.png",),
    "folder": tuple(f"{name}/**/*.png" for name in MASK_FOLDERS),
}
ADE_CLASSES = 150
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
# Name -> value of *_labelIds.png, in the order of *_labelTrainIds.png.
CITYSCAPES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19,
    "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26,
    "truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33,
}  # fmt: skip
CITYSCAPES_LABELS = 34  # values of *_labelIds.png: 0 to 33; those of no class above are not judged
CITYSCAPES_PICTURE = "_leftImg8bit"


def _png(picture: Path) -> Path:
    return picture.with_suffix(".png")


def _ade20k(root: Path) -> list[Part]:
    folders = {"training": "train", "validation": "test"}
    return [
        Part(name, split, root / "images" / name, root / "annotations" / name, _png)
        for name, split in folders.items()
        if (root / "images" / name).is_dir()
    ]


def _ade20k_classes(root: Path) -> Classes:
    """The names of objectInfo150.txt (index, ratio, train, val, stuff, name; tabs between), or numbers."""
    named = {0: "unlabelled"} | {value: f"class {value}" for value in range(1, ADE_CLASSES + 1)}
    path = root / "objectInfo150.txt"
    if not path.is_file():
        return named
    try:
        rows = [
            line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[1:] if line.strip()
        ]
        names = {int(row[0]): row[-1].strip() for row in rows}
    except (OSError, ValueError) as error:
        raise ParamsError(
            f"dataset.path: {path} has no index and name ({error}); mend or delete it"
        ) from None
    # Two of the 150 share their first name, and so do crops of others: the index tells them apart.
    double = {value for value, name in names.items() if list(names.values()).count(name) > 1}
    return named | {value: f"{name} {value}" if value in double else name for value, name in names.items()}


def _train_ids(root: Path) -> bool:
    return any((root / "gtFine").glob("train/*/*_gtFine_labelTrainIds.png"))


def _cityscapes(root: Path) -> list[Part]:
    kind = "labelTrainIds" if _train_ids(root) else "labelIds"

    def mask_of(picture: Path) -> Path:
        return picture.with_name(f"{picture.stem.removesuffix(CITYSCAPES_PICTURE)}_gtFine_{kind}.png")

    folders = {"train": "train", "val": "test"}  # the masks of its own test split are not public
    return [
        Part(name, split, root / "leftImg8bit" / name, root / "gtFine" / name, mask_of, whole=False)
        for name, split in folders.items()
        if (root / "leftImg8bit" / name).is_dir()
    ]


def _cityscapes_classes(root: Path) -> Classes:
    if _train_ids(root):
        return dict(enumerate(CITYSCAPES))
    judged = {value: name for name, value in CITYSCAPES.items()}
    return dict.fromkeys(range(CITYSCAPES_LABELS), "void") | judged


def _voc(root: Path) -> list[Part]:
    found = []
    for name, split in {"train": "train", "val": "test"}.items():
        path = root / "ImageSets" / "Segmentation" / f"{name}.txt"
        try:
            listed = [line.strip() for line in files.read(path).decode().splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise ParamsError(f"dataset.path: {path} cannot be read ({type(error).__name__})") from None
        pictures = [f"{one}.jpg" for one in dict.fromkeys(listed)]
        folders = root / "JPEGImages", root / "SegmentationClass"
        found.append(Part(name, split, *folders, _png, listed=pictures, whole=False))
    return found


def _masks(root: Path) -> Path:
    """The folder of the masks in `folder`."""
    return next((root / name for name in MASK_FOLDERS if (root / name).is_dir()), root / MASK_FOLDERS[0])


def _folder(root: Path) -> list[Part]:
    masks = _masks(root)
    inside = [path.name for path in sorted(masks.iterdir()) if path.is_dir()] if masks.is_dir() else []
    kinds = {name: kind for name in inside if (kind := _kind(name))}
    pictures = root / "images" if (root / "images").is_dir() else root
    if "train" not in kinds.values():
        return [Part("", None, pictures, masks, _png)]
    tested = "val" if "val" in kinds.values() else "test"
    return [
        Part(name, "train" if kind == "train" else "test", pictures / name, masks / name, _png)
        for name, kind in kinds.items()
        if kind in ("train", tested)
    ]


def _kind(name: str) -> str | None:
    return next((kind for kind in ("train", "val", "test") if name.startswith(kind)), None)


LAYOUTS = {
    "ade20k": Layout(_ade20k, _ade20k_classes),
    "cityscapes": Layout(_cityscapes, _cityscapes_classes),
    "voc": Layout(_voc, lambda root: dict(enumerate(VOC_CLASSES))),
    "folder": Layout(
        _folder, lambda root: None, lambda root: [_masks(root) / "classes.json", root / "classes.json"]
    ),
}
