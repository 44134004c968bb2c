"""What the loader is measured against: the same pictures for each peer, and each peer as a loader of batches.

The pictures are crops of scikit-learn's two photographs, of 200 to 427 px a side, mirrored and lightened at
random, brought to 256 px and encoded as jpg of quality 90: real texture at a real size of file (about 20 kB),
but no data set.
"""

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor

from winnow.ingest.example import Example
from winnow.ingest.writer import PoolWriter
from winnow.pool import images

PICTURES, STORED, SIZE, BATCH, WORKERS = 4096, 256, 224, 128, 2
CLASSES = [f"class {i}" for i in range(8)]


def photographs(count: int) -> Iterator[bytes]:
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    draw = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(draw.integers(200, min(photo.size) + 1))
        left, top = (int(draw.integers(0, most - side + 1)) for most in photo.size)
        picture = photo.crop((left, top, left + side, top + side))
        picture = picture.resize((STORED, STORED), Image.Resampling.BICUBIC)
        picture = ImageOps.mirror(picture) if draw.random() < 0.5 else picture
        buffer = io.BytesIO()
        ImageEnhance.Brightness(picture).enhance(draw.uniform(0.7, 1.3)).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue()


def lay_out(folder: Path) -> None:
    """The same bytes as a pool, as class folders, and as chunks of litdata and shards of webdataset, two a
    worker: webdataset hands a worker whole shards, and the pool's one would leave the other idle.
    """
    import litdata
    from webdataset import ShardWriter

    (folder / "pool").mkdir()
    with PoolWriter(folder / "pool", CLASSES) as writer:
        for number, data in enumerate(photographs(PICTURES)):
            label = number % len(CLASSES)
            example, measured = Example(str(number), data, label=label), images.measure(data, 10**9)
            writer.add(example, measured, trusted=False, corruption=None, source=example.key)
            path = folder / "folders" / CLASSES[label] / f"{number:06d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (folder / "webdataset").mkdir()
    with ShardWriter(str(folder / "webdataset" / "%06d.tar"), PICTURES // (2 * WORKERS), verbose=0) as shards:
        for number, data in enumerate(photographs(PICTURES)):
            shards.write({"__key__": f"{number:06d}", "jpg": data, "cls": number % len(CLASSES)})
    paths = sorted(map(str, (folder / "folders").rglob("*.jpg")))
    options = {"chunk_bytes": "64MB", "num_workers": 1, "verbose": False, "start_method": "fork"}
    litdata.optimize(litdata_item, paths, str(folder / "litdata"), **options)


def litdata_item(path: str) -> dict[str, object]:
    return {"image": Image.open(path), "label": CLASSES.index(Path(path).parent.name)}


def resized() -> Callable[[object], object]:
    from torchvision.transforms import v2

    return v2.Resize(SIZE, v2.InterpolationMode.BICUBIC, antialias=True)


def to_tensor() -> Callable[[object], Tensor]:
    from torchvision.transforms import v2

    return v2.Compose([resized(), v2.PILToTensor()])  # type: ignore[no-any-return]


def image_folder(folder: Path, seed: int) -> Iterator[Tensor]:
    from torch.utils.data import DataLoader
    from torchvision.datasets import ImageFolder

    torch.manual_seed(seed)
    data = ImageFolder(str(folder / "folders"), to_tensor())
    for batch, _ in DataLoader(data, BATCH, shuffle=True, num_workers=WORKERS, drop_last=True):
        yield batch


def webdataset(folder: Path, seed: int) -> Iterator[Tensor]:
    import webdataset as wds

    shards = sorted(map(str, (folder / "webdataset").glob("*.tar")))
    data = wds.WebDataset(shards, shardshuffle=False, workersplitter=wds.split_by_worker, empty_check=False)
    data = data.shuffle(1000, rng=random.Random(seed)).decode("pilrgb")
    data = data.to_tuple("jpg", "cls").map_tuple(to_tensor())
    for batch, _ in wds.WebLoader(data.batched(BATCH, partial=False), batch_size=None, num_workers=WORKERS):
        yield batch


def lit(folder: Path, seed: int) -> Iterator[Tensor]:
    import litdata

    class Resized(litdata.StreamingDataset):  # type: ignore[misc]
        resize = staticmethod(resized())

        def __getitem__(self, index: int) -> object:
            item = super().__getitem__(index)
            return self.resize(item["image"]), item["label"]

    data = Resized(str(folder / "litdata"), shuffle=True, seed=seed, drop_last=True)
    for batch, _ in litdata.StreamingDataLoader(data, batch_size=BATCH, num_workers=WORKERS):
        yield batch
