"""Photographs for benchmarks/views.py, and lightly's own pipeline over them: its transform, loss and heads.

The photographs are windows of scikit-learn's two, of the shape 4 : 3, brought to 500 x 375 px and encoded as
jpg of quality 90, about 50 kB each.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from models import encoders
from winnow.config.schema import View
from winnow.ingest.example import Example
from winnow.ingest.writer import PoolWriter
from winnow.pool import images
from winnow.pool.pool import Pool

WIDTH, HEIGHT, PICTURES, LOCALS = 500, 375, 256, 6
JITTER = [0.4, 0.4, 0.2, 0.1]
HEAD = {"hidden": 2048, "bottleneck": 256, "prototypes": 4096}


def photographs(count: int) -> Iterator[bytes]:
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    draw = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        height = int(draw.integers(250, photo.height + 1))
        width = height * 4 // 3
        left, top = (
            int(draw.integers(0, photo.width - width + 1)),
            int(draw.integers(0, photo.height - height + 1)),
        )
        picture = photo.crop((left, top, left + width, top + height))
        buffer = io.BytesIO()
        picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        yield buffer.getvalue()


def lay_out(folder: Path, pictures: Iterator[bytes]) -> Pool:
    """The same bytes as a pool and as files."""
    (folder / "pool").mkdir()
    (folder / "files").mkdir()
    with PoolWriter(folder / "pool", ["any"]) as writer:
        for number, data in enumerate(pictures):
            example, measured = Example(str(number), data, label=0), images.measure(data, 10**9)
            writer.add(example, measured, trusted=False, corruption=None, source=example.key)
            (folder / "files" / f"{number:06d}.jpg").write_bytes(data)
    return Pool.open(folder / "pool")


def recipe(side: int, local: int) -> dict[str, View]:
    """DINO's views of `side` and `local` pixels, as `transform` makes them."""
    more = {"flip": 0.5, "jitter": JITTER, "grey": 0.2, "blur": 0.5}
    return {
        "global": View(count=2, size=side, scale=[0.3, 1.0], solarise=0.1, **more),
        "local": View(count=LOCALS, size=local, scale=[0.05, 0.3], **more),
    }


class Pictures(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """lightly's views of the files, one picture at a time; its transform takes Pillow images only."""

    def __init__(self, folder: Path, side: int, local: int) -> None:
        from lightly.transforms.dino_transform import DINOTransform

        self.paths = sorted((folder / "files").glob("*.jpg"))
        strengths = dict(zip(("cj_bright", "cj_contrast", "cj_sat", "cj_hue"), JITTER, strict=True))
        self.transform = DINOTransform(
            global_crop_size=side,
            global_crop_scale=(0.3, 1.0),
            local_crop_size=local,
            local_crop_scale=(0.05, 0.3),
            n_local_views=LOCALS,
            cj_strength=1.0,
            gaussian_blur=(0.5, 0.5, 0.5),
            solarization_prob=0.2,  # of one of the two global views
            **strengths,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        views: list[torch.Tensor] = self.transform(Image.open(self.paths[index]).convert("RGB"))
        return views


def batches(folder: Path, side: int, local: int, size: int, workers: int) -> Iterator[list[torch.Tensor]]:
    """One epoch of lightly's views, (size, 3, S, S) each; `workers` processes, or none."""
    data = Pictures(folder, side, local)
    yield from torch.utils.data.DataLoader(data, size, shuffle=True, num_workers=workers, drop_last=True)


class Dino(nn.Module):
    """lightly's DINO, as its documentation writes it, but with all views of one size in one forward."""

    def __init__(self, backbone: str, side: int, channels_last: bool) -> None:
        from lightly.loss import DINOLoss
        from lightly.models.modules import DINOProjectionHead
        from lightly.models.utils import deactivate_requires_grad

        super().__init__()

        def tower() -> nn.Sequential:
            encoder = encoders.create(backbone, side)
            head = DINOProjectionHead(encoders.width(encoder), *HEAD.values(), batch_norm=True)
            return nn.Sequential(encoder, head)

        self.student, self.teacher = tower(), tower()
        self.teacher.load_state_dict(self.student.state_dict())
        deactivate_requires_grad(self.teacher)
        self.criterion = DINOLoss(output_dim=HEAD["prototypes"], warmup_teacher_temp_epochs=5)
        if channels_last:
            self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-3, fused=True)

    def step(self, views: list[torch.Tensor]) -> None:
        """One training step on two global views and the local ones."""
        from lightly.models.utils import update_momentum

        update_momentum(self.student, self.teacher, m=0.996)
        with torch.no_grad():
            targets = self.teacher(torch.cat(views[:2])).chunk(2)
        near, far = self.student(torch.cat(views[:2])), self.student(torch.cat(views[2:]))
        loss = self.criterion(list(targets), [*near.chunk(2), *far.chunk(LOCALS)], epoch=0)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
