"""How the cost in the table was counted: what was measured how, on what, and what was recorded without being charged."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.params import ROOT, Params
from stages.report import numbers
from stages.report.files import read_json, require
from stages.report.table import task_names


@dataclass(frozen=True)
class Accounting:
    """`uncharged` is the FLOPs of all readings and tasks; `how` maps a heading to the distinct answers of all arms."""

    uncharged: int
    how: dict[str, list[str]]


def read(params: Params, root: Path = ROOT) -> Accounting:
    """From the cost.json of each arm's pretraining and tasks."""
    costs = [read_json(require(root, "pretrain", "cost.json", arm)) for arm in params.arms]
    tasks = [read_json(require(root, task, "cost.json", arm)) for task in task_names() for arm in params.arms]
    energies = [cost["energy"] for cost in costs]
    how = {
        "Energy": _distinct(f"{cost['energy_quality']}: {_measured(cost['energy'])}" for cost in costs),
        "Country": _distinct(str(energy["country"]) for energy in energies),
        "Carbon intensity": _distinct(_intensity(energy) for energy in energies),
        "PUE": _distinct(f"{energy['pue']:g} (data centre overhead; multiplies energy)" for energy in energies),
        "Hardware": _distinct(_hardware(energy.get("hardware", {})) for energy in energies),
    }
    return Accounting(sum(cost["flops"]["evaluate"] for cost in [*costs, *tasks]), how)


def _distinct(values: Any) -> list[str]:
    return list(dict.fromkeys(values))


def _measured(energy: dict[str, Any]) -> str:
    how = energy.get("how")
    if not how:
        return "nothing on this machine could be measured"
    return ", ".join(f"{part} by {way}" for part, way in how.items() if way != "none")


def _intensity(energy: dict[str, Any]) -> str:
    if "intensity_g_per_kwh" not in energy:
        return numbers.UNKNOWN
    return f"{numbers.digits(energy['intensity_g_per_kwh'])} gCO2e/kWh ({energy['intensity_source']})"


def _hardware(hardware: dict[str, Any]) -> str:
    parts = [hardware.get("cpu"), f"{hardware['cores']} cores" if hardware.get("cores") else None, hardware.get("gpu")]
    return ", ".join(str(part) for part in parts if part) or numbers.UNKNOWN
