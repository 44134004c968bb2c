"""How the cost in the table was counted: what was measured how and on which machine, and what was recorded
without being charged.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace
from winnow.report.compare.inputs import PRETRAIN, cost
from winnow.report.page import numbers


@dataclass(frozen=True)
class Accounting:
    """`readings` and `tasks` are FLOPs over all arms, recorded and not charged; `how` maps a heading to the
    arms' answers.
    """

    readings: int
    tasks: int
    how: dict[str, list[str]]


def read(workspace: Workspace) -> Accounting:
    """From the cost.json of each arm's pretraining and tasks."""
    entries = Stages.read(workspace.root).entries.values()
    costs = [cost(workspace, entry) for entry in entries if entry.name == PRETRAIN]
    tasks = [cost(workspace, entry) for entry in entries if entry.is_task]
    energies = [one["energy"] for one in costs]
    how = {
        "Energy": _distinct(f"{one['energy_quality']}: {_measured(one['energy'])}" for one in costs),
        "Power": _power(energies),
        "Tool": _distinct(str(energy.get("tool") or numbers.UNKNOWN) for energy in energies),
        "Country": _distinct(str(energy["country"]) for energy in energies),
        "Carbon intensity": _distinct(_intensity(energy) for energy in energies),
        "PUE": _distinct(f"{energy['pue']:g} (overhead of the data centre, a factor)" for energy in energies),
        "Hardware": _distinct(_hardware(energy.get("hardware", {})) for energy in energies),
    }
    readings, measured = (sum(one["flops"]["evaluate"] for one in some) for some in (costs, tasks))
    return Accounting(readings, measured, how)


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _measured(energy: dict[str, Any]) -> str:
    how = energy.get("how")
    if not how:
        return "nothing on this machine could be measured"
    return ", ".join(f"{part} by {way}" for part, way in how.items() if way != "none")


def _power(energies: list[dict[str, Any]]) -> list[str]:
    """The mean watts of each part over the arms, and what an estimate of the CPU's is scaled from."""
    found = []
    for part, name in (("cpu", "CPU"), ("gpu", "GPU"), ("ram", "memory")):
        if watts := sorted(energy["watts"][part] for energy in energies if energy.get("watts", {}).get(part)):
            least, most = numbers.digits(watts[0]), numbers.digits(watts[-1])
            found.append(f"{name} {least if least == most else f'{least} to {most}'} W on average")
    return [", ".join(found) or numbers.UNKNOWN, *_distinct(filter(None, map(_full_load, energies)))]


def _full_load(energy: dict[str, Any]) -> str | None:
    full, cores = energy.get("watts", {}).get("cpu_at_full_load"), energy.get("hardware", {}).get("cores")
    if not full:
        return None
    each = f", {numbers.digits(full / cores)} W a core" if cores else ""
    return f"that of the CPU is its load times {numbers.digits(full)} W (thermal design power{each})"


def _intensity(energy: dict[str, Any]) -> str:
    if "intensity_g_per_kwh" not in energy:
        return numbers.UNKNOWN
    return f"{numbers.digits(energy['intensity_g_per_kwh'])} gCO2e/kWh ({energy['intensity_source']})"


def _hardware(hardware: dict[str, Any]) -> str:
    cores = f"{hardware['cores']} cores" if hardware.get("cores") else None
    parts = (hardware.get("cpu"), cores, hardware.get("gpu"))
    return ", ".join(str(part) for part in parts if part) or numbers.UNKNOWN
