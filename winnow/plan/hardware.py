"""Presets of hardware, conf/hardware/NAME.yaml: peak FLOP/s, the share of it that training reaches, power."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from winnow.config.bounds import REQUIRED, bounded, known
from winnow.config.errors import ParamsError
from winnow.config.load import read
from winnow.config.parse import plugin_config
from winnow.config.plugins import CODE

CPU = "two_cores"  # where no GPU is used and none is named
OPTION = "--hardware"


@dataclass
class Hardware:
    """One machine. `peak` is FLOP/s by `run.precision`, `utilisation` the share of it that training reaches,
    `watts` the power while it trains; `device` a word of the name that CUDA gives a GPU, null for a CPU.
    """

    about: str = REQUIRED
    peak: dict[str, float] = field(default_factory=dict)
    peak_source: str = REQUIRED
    utilisation: float = bounded(1.0, above=0, high=1)
    utilisation_source: str = REQUIRED
    watts: float = bounded(1.0, above=0)
    watts_source: str = REQUIRED
    device: str | None = None

    def check(self, key: str) -> None:
        if not self.peak or min(self.peak.values()) <= 0:
            raise ParamsError(f"{key}: peak {self.peak} is wrong; give FLOP/s above 0 by run.precision")

    def flops_per_second(self, precision: str) -> float:
        """What training is expected to reach.

        Raises:
            ParamsError: for a precision that the preset has no peak of.
        """
        known("run.precision", precision, self.peak)
        return self.peak[precision] * self.utilisation


def presets(conf: Path) -> dict[str, Path]:
    """Name -> file, those of a project's conf/ before those of this code."""
    found = [path for root in (CODE / "conf", conf) for path in sorted((root / "hardware").glob("*.yaml"))]
    return {path.stem: path for path in found}


def load_hardware(name: str, conf: Path) -> Hardware:
    """The preset of a name.

    Raises:
        ParamsError: if there is none, or it holds something else.
    """
    files = presets(conf)
    known(OPTION, name, files)
    hardware = plugin_config(Hardware, f"conf/hardware/{name}.yaml", read(files[name]))
    assert isinstance(hardware, Hardware)
    return hardware


def preset_here(accelerator: str, conf: Path) -> str:
    """The name of the preset of this machine, by `run.accelerator`.

    Raises:
        ParamsError: if its GPU has none.
    """
    import torch

    if accelerator == "cpu" or not torch.cuda.is_available():
        return CPU
    device = torch.cuda.get_device_name()
    found = preset_of(device, conf)
    if found is None:
        given = f"{OPTION}: not given, and conf/hardware has no preset of this machine's {device}"
        raise ParamsError(f"{given}; name one of {', '.join(presets(conf))}, or add a file there")
    return found


def preset_of(device: str, conf: Path) -> str | None:
    """The preset of a GPU by the name that CUDA gives it, such as `NVIDIA H100 80GB HBM3`."""
    words = re.split(r"[\s-]+", device)
    return next((name for name in presets(conf) if load_hardware(name, conf).device in words), None)
