"""The one table of stages: dvc.yaml, read for what else must know of it.

What a stage runs over, where its outs lie, which versions it reads and makes: all of that stands in dvc.yaml,
and this module is its only reader. So adding a stage changes no code here. Reading costs no import of DVC; a
test compares the graph with `dvc dag`.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

VERSION = re.compile(r"data/versions/([^/]+)(?:/|$)")


@dataclass(frozen=True)
class Entry:
    """One stage of the pipeline, all paths relative to the workspace.

    `name` is the module below stages/, `key` what the stage runs for (an arm, a version), None where it runs
    once.
    """

    name: str
    key: str | None
    section: str | None  # of params.yaml, whose items the stage runs over
    deps: tuple[str, ...]
    outs: tuple[str, ...]  # metrics and plots among them
    params: tuple[str, ...] = ()  # the keys of params.yaml that shape its result, dotted
    arm: str | None = None  # whose encoder it makes or measures
    set: str | None = None  # the task set that it measures on

    @property
    def address(self) -> str:
        """DVC's name of the stage, such as `pretrain@supervised-hard`."""
        return f"{self.name}@{self.key}" if self.key else self.name

    @property
    def out(self) -> str:
        """The folder that holds all outs."""
        return os.path.commonpath([os.path.dirname(path) for path in self.outs])

    @property
    def records(self) -> str:
        """The folder of metrics.json and cost.json."""
        return next(os.path.dirname(path) for path in self.outs if os.path.basename(path) == "cost.json")

    @property
    def reads_versions(self) -> list[str]:
        """The dataset versions that the stage depends on."""
        return _versions(self.deps)

    @property
    def makes_versions(self) -> list[str]:
        """The dataset versions that are its outs."""
        return [name for name in _versions(self.outs) if not name.endswith(".json")]

    @property
    def is_task(self) -> bool:
        """Whether it measures an arm's encoder."""
        return self.set is not None

    def needs(self, other: "Entry") -> bool:
        """Whether it depends on an out of the other."""
        return self != other and any(_overlap(dep, out) for dep in self.deps for out in other.outs)


class Stages:
    """All stages of a workspace, in the order of dvc.yaml."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = {entry.address: entry for entry in entries}

    @classmethod
    def read(cls, root: Path, params: Mapping[str, Any] | None = None) -> Self:
        """Read dvc.yaml.

        Args:
            root: the folder of dvc.yaml.
            params: params.yaml as plain data; read from beside dvc.yaml where it is not given.
        """
        if params is None:
            params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
        blocks = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        return cls([entry for name, block in blocks.items() for entry in _entries(name, block, params)])

    def __getitem__(self, address: str) -> Entry:
        return self.entries[address]

    def of(self, name: str) -> list[Entry]:
        """The stages of one module."""
        return [entry for entry in self.entries.values() if entry.name == name]

    @property
    def tasks(self) -> list[str]:
        """The names of the downstream tasks that measure anything."""
        return list(dict.fromkeys(entry.name for entry in self.entries.values() if entry.is_task))

    @cached_property
    def graph(self) -> dict[str, set[str]]:
        """Address -> the addresses of the stages that it needs."""
        every = self.entries.values()
        return {one.address: {other.address for other in every if one.needs(other)} for one in every}

    def downstream(self, address: str) -> set[str]:
        """The stage and all that depend on it."""
        found, frontier = {address}, [address]
        while frontier:
            current = frontier.pop()
            fresh = [name for name, needs in self.graph.items() if current in needs and name not in found]
            found.update(fresh)
            frontier.extend(fresh)
        return found


def _entries(name: str, block: Mapping[str, Any], params: Mapping[str, Any]) -> list[Entry]:
    body = block.get("do", block)
    kinds = (("deps",), ("outs", "metrics", "plots"), ("params",))
    if "do" not in block:
        deps, outs, keys = (_paths(body, kind, params, {}) for kind in kinds)
        return [Entry(name, None, None, deps, outs, keys)]
    section = block["foreach"][2:-1]
    items = select(params, section)
    if isinstance(items, list):  # DVC names the stages after the items
        named = {str(item): {"item": item} for item in items}
    else:
        named = {key: {"key": key, "item": item} for key, item in items.items()}
    entries = []
    for key, item in named.items():
        deps, outs, keys = (_paths(body, kind, params, item) for kind in kinds)
        entries.append(Entry(name, key, section, deps, outs, keys, *_measured(section, item)))
    return entries


def _measured(section: str, item: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The arm and the task set of a stage, where it has them."""
    if section.startswith("cells."):
        return item["item"]["arm"], item["item"]["set"]
    return (item["key"], None) if section == "arms" else (None, None)


def _paths(
    body: Mapping[str, Any], kinds: tuple[str, ...], params: Mapping[str, Any], item: Mapping[str, Any]
) -> tuple[str, ...]:
    entries = [next(iter(e)) if isinstance(e, dict) else e for kind in kinds for e in body.get(kind, [])]
    values = {**params, **item}
    return tuple(re.sub(r"\$\{([^}]+)\}", lambda found: str(select(values, found[1])), e) for e in entries)


def select(values: Any, key: str) -> Any:
    """What stands under a dotted key of nested data."""
    for part in key.split("."):
        values = values[part]
    return values


def _versions(paths: tuple[str, ...]) -> list[str]:
    return sorted({found[1] for path in paths if (found := VERSION.match(path))})


def _overlap(dep: str, out: str) -> bool:
    return dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/")
