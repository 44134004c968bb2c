"""The image size of a backbone that leaves it to the data: `backbones.NAME.image_size: null` in conf/."""

import copy
import io
from collections.abc import Iterator
from itertools import islice
from typing import Any

from winnow.config.errors import ParamsError
from winnow.config.plugins import load_plugin
from winnow.config.proposals import image_size
from winnow.config.schema import Params

SAMPLE = 200  # pictures of each dataset of the pool that are looked at, by their headers
ANY = 28  # stands in while the rest is checked


def open_sizes(raw: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The same with a number in the place of each open image size, and the backbones that have one."""
    backbones = raw.get("backbones") or {}
    names = [
        name
        for name, block in backbones.items()
        if isinstance(block, dict) and "image_size" in block and block["image_size"] is None
    ]
    filled = copy.deepcopy(raw) if names else raw
    for name in names:
        filled["backbones"][name]["image_size"] = ANY
    return filled, names


def fit(params: Params, names: list[str]) -> None:
    """Give these backbones the image size that fits the pool's pictures, and say so.

    Raises:
        ParamsError: if no picture can be read.
    """
    if not names:
        return
    sides = [side for name in params.datasets.pool for side in islice(_sides(params, name), SAMPLE)]
    if not sides:
        raise ParamsError(
            f"backbones.{names[0]}.image_size: null, and no picture of the pool can be read; give it"
        )
    size = image_size(sides)
    for name in names:
        params.backbones[name].image_size = size
    middle = sorted(sides)[len(sides) // 2]
    print(f"image_size {size}: the median shorter side of {len(sides)} pictures of the pool is {middle} px")


def _sides(params: Params, name: str) -> Iterator[int]:
    """The shorter sides of a dataset's pictures, of those whose header can be read."""
    from PIL import Image  # here, because every stage imports the config

    dataset = params.datasets.pool[name]
    for example in load_plugin("winnow.sources", str(dataset.source)).read(dataset):
        try:
            with Image.open(io.BytesIO(example.image)) as image:
                yield min(image.size)
        except Exception:  # Pillow raises anything on hostile bytes
            continue
