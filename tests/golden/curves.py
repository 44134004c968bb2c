"""Loss curves of ten steps, one for each method, that must not change when code is moved or rewritten.

    python -m tests.golden.curves       writes tests/golden/METHOD.json anew, for all methods

Run that only when a change of the losses is intended, and give the reason in the commit message.

The curves hold on every x86-64 CPU. Sampling is uniform, so that no near tie of scores can turn the other
way. Weights, inputs and arithmetic are float64, and both weights and views are made by operations that IEEE
754 rounds exactly (torch's float32 initialisation and crops differ between AVX2 and AVX-512 in their last
X
"""

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from models.methods import Batch
from tests.pools import ingest
from winnow.config.datasets import Dataset
from winnow.config.schema import Backbone, Method, Params, View
from winnow.loading.examples import Examples, examples
from winnow.pool.pool import Pool
from winnow.selection.policy import UNIFORM
from winnow.selection.selector import Selector
from winnow.training.build import build_objective
from winnow.training.loop import Loop

FOLDER = Path(__file__).resolve().parent
STEPS, BATCH, COUNT, SIZE, SEED = 10, 8, 64, 28, 0
TOLERANCE = 1e-9  # relative
GRID = 2**20  # weights are multiples of a fraction of this

TOWERS = {"embed": 16, "text_width": 16, "text_layers": 2, "text_heads": 2, "context": 8}
SETTINGS = {
    "supervised": {"label_smoothing": 0.1},
    "simclr": {"temperature": 0.2, "hidden": 32, "out": 16},
    "dino": {"hidden": 32, "bottleneck": 16, "prototypes": 48, "teacher_momentum": 0.9},
    "siglip": TOWERS,
    "clip": TOWERS,
}
TWO = {"image": View(count=2)}
VIEWS = {"simclr": TWO, "dino": {"global": View(count=2), "local": View(count=3, size=16)}}


@dataclass
class ExactExamples(Examples):
    """Examples whose views are mirrored, shifted or cut, in float64: no CPU rounds them differently."""

    def batch(
        self,
        indices: np.ndarray,
        images: Tensor,
        views: dict[str, View],
        generator: torch.Generator,
        device: torch.device,
        patch_size: int | None = None,
    ) -> Batch:
        """As in training, but for how views are made."""
        plain = super().batch(indices, images, {}, generator, device, patch_size)
        pixels = images.double() / 128 - 1
        plain.views = {
            name: [_view(pixels, view.size, number) for number in range(view.count)]
            for name, view in views.items()
        }
        return plain


def _view(pixels: Tensor, size: int | None, number: int) -> Tensor:
    if size is not None:
        return pixels[..., 2 * number : 2 * number + size, 5 * number : 5 * number + size]
    return pixels.flip(-1).roll(2 * number, -2) if number % 2 else pixels


def make_pool(folder: Path) -> Pool:
    """A pool of scikit-learn's digits."""
    return ingest(folder, Dataset(source="digits", limit=2 * COUNT))[1]


def curve(method: str, pool: Pool) -> list[float]:
    """The mean loss of each step."""
    torch.set_num_threads(1)  # a second one costs more than it saves on tensors of this size
    data = _data(method, pool)
    objective = build_objective(method, SETTINGS[method], Backbone("test_resnet", SIZE), data.classes, SEED)
    _set_weights(objective.double())
    losses: list[float] = []
    objective.register_forward_hook(lambda *call: losses.append(call[2].example.mean().item()))
    recipe = Method(batch_size=BATCH, views=VIEWS.get(method, {"image": View()}))
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    selector = Selector(UNIFORM, recipe, data, None, SEED)
    Loop(fabric, objective, data, recipe, selector, STEPS, SEED).run()
    assert len(losses) == STEPS
    return losses


def compare(method: str, losses: list[float]) -> None:
    """Raise an `AssertionError` unless a curve is the recorded one, up to `TOLERANCE`."""
    recorded = json.loads((FOLDER / f"{method}.json").read_text(encoding="utf-8"))
    np.testing.assert_allclose(losses, recorded, rtol=TOLERANCE, atol=0)


def _data(method: str, pool: Pool) -> ExactExamples:
    # In the order of ingestion, not of uids, which depend on how a version of zlib compresses.
    split = pool.table["split"].to_pylist()
    rows = [row for row, name in enumerate(split) if name == "train"][:COUNT]
    uids = [pool.index.uid(row) for row in rows]
    needs = frozenset({"captions"} if method in ("siglip", "clip") else {"labels"})
    return ExactExamples(**vars(examples(pool, uids, SIZE, Params(), needs, TOWERS["context"])))


@torch.no_grad()
def _set_weights(module: nn.Module) -> None:
    """Draw all weights that torch drew, by operations that are exact but for one rounding each."""
    draw = torch.Generator().manual_seed(SEED)
    for parameter in module.parameters():
        if parameter.unique().numel() > 1:
            whole = torch.randint(-GRID, GRID + 1, parameter.shape, generator=draw).double()
            bound = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(whole / GRID * bound)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        pool = make_pool(Path(folder) / "pool")
        for method in SETTINGS:
            text = json.dumps(curve(method, pool), indent=1) + "\n"
            (FOLDER / f"{method}.json").write_text(text, encoding="utf-8")
            print(f"{FOLDER / method}.json", file=sys.stderr)


if __name__ == "__main__":
    main()
