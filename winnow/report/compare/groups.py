"""Arms that differ in their seed alone, as one: means of their rows, and of what pictures show of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from winnow.evaluation.curve import Row as Reading
from winnow.ledger.energy import QUALITIES
from winnow.report.compare.budgets import allowance
from winnow.report.compare.columns import Row
from winnow.report.compare.table import backbone_of, choice

AMOUNTS = ("kwh", "gco2e", "seconds", "examples_seen")


@dataclass(frozen=True)
class Group:
    """`row` has the form of a row of table.json: of one arm its own, of several their means."""

    name: str
    row: Row
    rows: list[Row]

    @property
    def arms(self) -> list[str]:
        return [row["arm"] for row in self.rows]


def grouped(table: Iterable[Row]) -> list[Group]:
    """The groups, in the order of their first arms.

    Where two arms of one choice have the same seed, something else tells them apart, and names group them.
    """
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in table:
        start = row["weights"]["path"].removesuffix(f"-s{row['seed']}") if "weights" in row else None
        what = choice(row), row["method"], backbone_of(row), allowance(row), start
        found.setdefault(what, []).append(row)
    groups = []
    for rows in found.values():
        if len({row["seed"] for row in rows}) == len(rows):
            groups.append(rows)
        else:
            named: dict[str, list[Row]] = {}
            for row in rows:
                named.setdefault(_stem(row), []).append(row)
            groups += list(named.values())
    return [_group(rows) for rows in groups]


def _stem(row: Row) -> str:
    """An arm's name without its seed."""
    return str(row["arm"]).removesuffix(f"-s{row['seed']}")


def _group(rows: list[Row]) -> Group:
    if len(rows) == 1:
        return Group(rows[0]["arm"], rows[0], rows)
    name = _stem(rows[0])
    flops = {part: _mean([row["flops"][part] for row in rows]) for part in rows[0]["flops"]}
    mean = {
        **rows[0],
        "arm": name,
        "backbone": backbone_of(rows[0]),
        "flops": {part: None if value is None else round(value) for part, value in flops.items()},
        **{key: _mean([row[key] for row in rows]) for key in AMOUNTS},
        "energy_quality": max((row["energy_quality"] for row in rows), key=QUALITIES.index),
        "tasks": _tasks(rows),
        "stopped_by": ", ".join(dict.fromkeys(row["stopped_by"] for row in rows)),
    }
    return Group(name, mean | {"examples_seen": round(mean["examples_seen"])}, rows)


def _tasks(rows: list[Row]) -> dict[str, dict[str, float]]:
    """The means of what every arm was measured by."""
    sets = [name for name in rows[0]["tasks"] if all(name in row["tasks"] for row in rows)]
    found = {}
    for name in sets:
        measured = [row["tasks"][name] for row in rows]
        both = [key for key in measured[0] if all(key in one for one in measured)]
        found[name] = {key: sum(one[key] for one in measured) / len(measured) for key in both}
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def mean_curves(groups: Iterable[Group], curves: Mapping[str, list[Reading]]) -> dict[str, list[Reading]]:
    """Of each group the means of its arms' readings, as many as all have."""
    found = {}
    for group in groups:
        together = zip(*(curves[arm] for arm in group.arms), strict=False)
        found[group.name] = [_reading(readings) for readings in together]
    return found


def _reading(readings: Sequence[Reading]) -> Reading:
    both = [key for key in readings[0] if all(key in one for one in readings)]
    return {key: sum(one[key] for one in readings) / len(readings) for key in both}


def mean_arrays(groups: Iterable[Group], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of each group the means of its arms' arrays; of the first arm alone where lengths differ."""
    found = {}
    for group in groups:
        values = [arrays[arm] for arm in group.arms]
        same = len({one.shape for one in values}) == 1
        found[group.name] = np.mean(values, axis=0) if same else values[0]
    return found


def mean_shares(
    groups: Iterable[Group], shares: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, float]]:
    """Of each group the means of its arms' shares."""
    return {
        group.name: {
            key: sum(shares[arm][key] for arm in group.arms) / len(group.arms)
            for key in shares[group.arms[0]]
        }
        for group in groups
    }
