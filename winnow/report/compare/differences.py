"""What the arms of a comparison were set to differently, and the command that makes each of them again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from winnow.config.derive import parts
from winnow.config.schema import Arm, Params
from winnow.pipeline.stages import Stages
from winnow.report.compare.groups import Group
from winnow.report.compare.inputs import PRETRAIN
from winnow.report.compare.table import tasks_of

BLOCKS = (("policy", "policies"), ("method", "methods"), ("backbone", "backbones"), ("version", "versions"))
ABSENT = "–"
DERIVED = "dvc"  # what is worked out from the other keys


@dataclass(frozen=True)
class Differences:
    """`rows` are the keys in which arms differ, with the value of each of `arms`; `commands` by arm."""

    arms: list[str]
    rows: list[tuple[str, list[str]]]
    commands: dict[str, str]


def differences(params: Params, groups: Sequence[Group], stages: Stages) -> Differences:
    """Of groups of arms, each by its first one; seeds are listed."""
    settings = [_settings(params, group) for group in groups]
    keys = dict.fromkeys(key for one in settings for key in one)
    rows = [(key, [one.get(key, ABSENT) for one in settings]) for key in keys]
    different = [(key, values) for key, values in rows if len(set(values)) > 1]
    commands = {group.name: command(group.arms, stages) for group in groups}
    return Differences([group.name for group in groups], different, commands)


def command(arms: Iterable[str], stages: Stages) -> str:
    """What makes these arms and measures them, by the params.yaml of the comparison."""
    made = [[f"{PRETRAIN}@{arm}", *(entry.address for entry in tasks_of(stages, arm))] for arm in arms]
    return f"dvc repro {' '.join(address for addresses in made for address in addresses)}"


def _settings(params: Params, group: Group) -> dict[str, str]:
    """Every key that shapes the first arm, those of its policy, method, backbone and versions included."""
    arm: Arm = params.arms[group.arms[0]]
    found: dict[str, Any] = {**_flat(asdict(arm)), "seed": ", ".join(str(row["seed"]) for row in group.rows)}
    blocks = asdict(params)
    for kind, section in BLOCKS:
        chosen = parts(arm.version) if kind == "version" else [getattr(arm, kind)]
        for name in chosen:
            prefix = f"{kind} {name}" if len(chosen) > 1 else kind
            found |= _flat(blocks[section].get(name) or {}, prefix)
    return {key: _text(value) for key, value in found.items()}


def _flat(block: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested keys, dotted, without the derived ones."""
    found: dict[str, Any] = {}
    for key, value in block.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        if key == DERIVED:
            continue
        found |= _flat(value, name) if isinstance(value, Mapping) and value else {name: value}
    return found


def _text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
