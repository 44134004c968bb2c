"""The features of an arm's frozen encoder on the splits of a task set: computed once, and kept for every task
that reads them.

They lie in .winnow/features/ARM/SET/SPLIT.safetensors, beside the key of all that they depend on, so a file
of another encoder, other images or other code is never read; the next one takes its place. Their FLOPs are
counted as if each were computed now: what a task costs must not depend on what was run before it.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from models.encoders import width
from models.flops import count
from winnow.config.schema import Params
from winnow.evaluation.features import features, open_split
from winnow.loading.examples import Examples
from winnow.pipeline.code import digest
from winnow.pipeline.files import replacing, sha256
from winnow.pipeline.workspace import Workspace
from winnow.pool.pool import open_set
from winnow.training.device import launch
from winnow.training.weights import CONFIG, WEIGHTS, load_encoder

FEATURES, KEY = "features", "key"  # in a file that is kept


@dataclass(frozen=True)
class Split:
    """n images of a task set: `features` (n, D) float32 on the CPU, `labels` (n,) int64, and their uids."""

    features: Tensor
    labels: Tensor
    data: Examples

    def __len__(self) -> int:
        return len(self.data)


class FrozenEncoder:
    """An arm's encoder as a task that trains nothing of it sees it: `split("probe")` of its task set.

    `size` is the side of its images in pixels, `width` the number of its features, `forward` the FLOPs of one
    image, and `flops` those of all splits so far.
    """

    def __init__(self, workspace: Workspace, params: Params, arm: str, task_set: str) -> None:
        self.workspace, self.params, self.arm, self.set = workspace, params, arm, task_set
        self.fabric = launch(params.run)
        encoder, self.size = load_encoder(workspace.arm(arm))
        self.encoder = self.fabric.to_device(encoder)
        self.pool = open_set(workspace, params.datasets, task_set)
        self.width = width(encoder)
        self.forward = count(encoder, (3, self.size, self.size)).forward
        self.flops = 0

    def split(self, name: str) -> Split:
        """The features of a split, such as probe, val, test or labels-0.01.

        Raises:
            ValueError: if an image has no label, its picture is lost, or its features are not finite.
        """
        data = open_split(self.workspace, self.pool, self.set, name, self.size, self.params)
        self.flops += len(data) * self.forward
        path, key = self.workspace.features / self.arm / self.set / f"{name}.safetensors", self._key(data)
        values = _read(path, key)
        if values is None:
            values = features(self.encoder, data, self.fabric)
            self._refuse_nonfinite(values, data)
            with replacing(path) as partial:
                save_file({FEATURES: values.contiguous()}, partial, {KEY: key})
        return Split(values, data.labels, data)

    def _key(self, data: Examples) -> str:
        """Of the weights, the images, what shapes the last bits, and the code."""
        folder, device = self.workspace.arm(self.arm), self.fabric.device.type
        machine = torch.backends.cpu.get_cpu_capability() if device == "cpu" else torch.cuda.get_device_name()
        parts = {
            "weights": [sha256(folder / WEIGHTS), sha256(folder / CONFIG)],
            "uids": hashlib.sha256("".join(data.uids).encode()).hexdigest(),
            "run": asdict(self.params.run) | {"accelerator": device, "machine": machine},
            "code": digest("winnow.evaluation.features", "winnow.training.weights"),
        }
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def _refuse_nonfinite(self, values: Tensor, data: Examples) -> None:
        bad = (~values.isfinite().all(dim=1)).nonzero().flatten()
        if len(bad):
            where = f"{self.workspace.arm(self.arm) / WEIGHTS}: the features of {len(bad)} of {len(data)}"
            mend = "its training diverged; lower methods.*.lr, and run: dvc repro"
            raise ValueError(f"{where} images are not finite (first uid {data.uids[int(bad[0])]}); {mend}")


def _read(path: Path, key: str) -> Tensor | None:
    """What was kept under this key; None if nothing, or something else, or a damaged file is there."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(FEATURES) if (file.metadata() or {}).get(KEY) == key else None
    except (OSError, SafetensorError):
        return None
