"""How well a probe that was trained on clean features does on corrupted pictures, and a sheet to look at."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from PIL import Image, ImageDraw
from torch import Generator, Tensor, nn

from models.corruptions.corrupt import SEVERITIES, corrupt
from models.encoders import normalisation
from winnow.evaluation.features import PLAIN, refuse_lost
from winnow.loading.examples import Examples
from winnow.loading.views import make
from winnow.training.device import generator

CHUNK = 250
Cell = tuple[str, int]  # a corruption and a severity
SHOWN_PIXELS, LABEL, GAP = 84, 128, 4  # of the sheet


@torch.no_grad()
def corrupted_outputs(
    encoder: nn.Module,
    call: Callable[[Tensor], Tensor],
    data: Examples,
    cells: Sequence[Cell],
    fabric: Fabric,
    bar: Callable[[Iterable[int]], Iterable[int]] = lambda chunks: chunks,
) -> dict[Cell, Tensor]:
    """`call` on the features of the plain images in each cell, as (n, ...) on the CPU.

    A picture's corruption depends on its uid, the corruption and the severity: it is the same for every arm
    and whichever other pictures are measured.
    """
    by, found = normalisation(encoder), {cell: list[Tensor]() for cell in cells}
    for start in bar(range(0, len(data), CHUNK)):
        places = range(start, min(start + CHUNK, len(data)))
        images = data.pixels.get(np.array(places))
        refuse_lost(data)
        uids = [data.uids[place] for place in places]
        for cell in cells:
            changed = corrupt(images, *cell, draws(uids, *cell)).to(fabric.device)
            view = make(changed, PLAIN, generator("plain"), by)["image"][0]
            with fabric.autocast():
                features = encoder(view)
            found[cell].append(call(features.float().cpu()))
    return {cell: torch.cat(parts) for cell, parts in found.items()}


def draws(uids: Iterable[str], corruption: str, severity: int) -> list[Generator]:
    """The randomness of each picture."""
    return [generator("corruption", uid, corruption, severity) for uid in uids]


def sheet(data: Examples, corruptions: Sequence[str]) -> Image.Image:
    """A row for each corruption: a picture clean and in the five severities; each row has another picture."""
    zoom = max(1, round(SHOWN_PIXELS / data.pixels.size))
    side = zoom * data.pixels.size if data.pixels.size <= SHOWN_PIXELS else SHOWN_PIXELS
    columns, step = len(SEVERITIES) + 1, side + GAP
    picture = Image.new("RGB", (LABEL + columns * step, 18 + len(corruptions) * step), "white")
    pen = ImageDraw.Draw(picture)
    for column in range(columns):
        title = f"severity {SEVERITIES[column - 1]}" if column else "clean"
        pen.text((LABEL + column * step, 3), title, fill="black")
    for row, name in enumerate(corruptions):
        pen.text((4, 18 + row * step + side // 2 - 6), name.replace("_", " "), fill="black")
        for column, one in enumerate(_versions(data, row % len(data), name)):
            shrunk = Image.Resampling.NEAREST if side >= data.pixels.size else Image.Resampling.LANCZOS
            picture.paste(one.resize((side, side), shrunk), (LABEL + column * step, 18 + row * step))
    return picture


def _versions(data: Examples, index: int, name: str) -> Iterator[Image.Image]:
    clean = data.pixels.get(np.array([index]))
    changed = (corrupt(clean, name, one, draws([data.uids[index]], name, one)) for one in SEVERITIES)
    for image in (clean, *changed):
        yield Image.fromarray(image[0].permute(1, 2, 0).numpy())
