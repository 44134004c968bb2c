"""What the courses of training say: accuracy at equal FLOPs, seconds and examples, and how much sooner an arm
is as good as the best control (speedup.py).

All of it is read on val, by kNN, for there alone an encoder is measured while it is trained; the control is
the one that the verdict compares with, of the same method, backbone and budget. A difference has the interval
of the seeds, which are paired; with one seed that of the val images, as if every arm had drawn its own.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from winnow.evaluation.curve import Row as Reading
from winnow.evaluation.statistics import Estimate, estimate
from winnow.report.compare.columns import main_column
from winnow.report.compare.groups import Group
from winnow.report.compare.intervals import paired
from winnow.report.compare.speedup import Speedup, reading_error, speedup, still_gaining
from winnow.report.compare.verdict import Family, families
from winnow.report.compare.views import ACCURACY, VIEWS, View, reached_by_all, value_at

Z = 1.959964  # of a two-sided 95 % interval
Curves = Mapping[str, Sequence[Reading]]


@dataclass(frozen=True)
class Equal:
    """Readings of a family where `view` is at `at`, the most that all its arms reached: name -> accuracy, and
    name -> difference to the control; None before an arm's first reading.
    """

    view: View
    at: float
    values: dict[str, Estimate | None]
    differences: dict[str, Estimate | None]


@dataclass(frozen=True)
class Progress:
    """Of a family with a control: `equal` by view, `speedups` by group and key of the view."""

    family: Family
    control: Group
    equal: list[Equal]
    speedups: dict[str, dict[str, Speedup]]
    gaining: bool | None

    @property
    def groups(self) -> list[Group]:
        """All that are compared, the control first."""
        _, *controls = self.family.controls
        return [self.control, *self.family.policies, *controls, *self.family.oracles]


def progress(groups: Sequence[Group], curves: Curves, images: int | None) -> list[Progress]:
    """Of each family with a control and another arm, where all were read on val.

    Args:
        curves: of each arm, with `seconds` where they are known (views.with_seconds).
        images: how many images the val split has.
    """
    column, found = main_column([group.row for group in groups]), []
    for family in families(groups, column) if column else []:
        members = _members(family)
        read = all(ACCURACY in one for group in members for arm in group.arms for one in curves[arm])
        begun = all(curves[arm] for group in members for arm in group.arms)
        if family.controls and len(members) > 1 and read and begun:
            found.append(_progress(family, curves, images))
    return found


def _members(family: Family) -> list[Group]:
    return [*family.controls, *family.policies, *family.oracles]


def _progress(family: Family, curves: Curves, images: int | None) -> Progress:
    control, members = family.controls[0], _members(family)
    everyone = [curves[arm] for group in members for arm in group.arms]
    equals, speedups = [], {}
    for view in VIEWS:
        if (at := reached_by_all(everyone, view.key)) is None:
            continue
        values = {group.name: _value(_at(group.arms, curves, view, at), images) for group in members}
        pairs = {group.name: _paired(group, control) for group in members if group is not control}
        differences = {
            name: _difference(_at(ours, curves, view, at), _at(theirs, curves, view, at), images)
            for name, (ours, theirs) in pairs.items()
        }
        equals.append(Equal(view, at, values, differences))
    keys = [one.view.key for one in equals]
    for group in members[1:]:
        speedups[group.name] = {key: _speedup(group, control, curves, key, images) for key in keys}
    own = [_curve(curves[arm], "flops") for arm in control.arms]
    mean = [tuple(np.mean(points, axis=0)) for points in zip(*own, strict=False)]
    gaining = still_gaining(mean, reading_error([mean], images)[0])
    return Progress(family, control, equals, speedups, gaining)


def _paired(group: Group, control: Group) -> tuple[list[str], list[str]]:
    """The arms of both with the same seeds."""
    ours, theirs = paired(group.rows, control.rows)
    return [row["arm"] for row in ours], [row["arm"] for row in theirs]


def _speedup(group: Group, control: Group, curves: Curves, key: str, images: int | None) -> Speedup:
    ours, theirs = ([_curve(curves[arm], key) for arm in arms] for arms in _paired(group, control))
    return speedup(ours, theirs, reading_error(theirs, images))


def _curve(readings: Sequence[Reading], key: str) -> list[tuple[float, float]]:
    return [(one[key], one[ACCURACY]) for one in readings]


def _at(arms: Sequence[str], curves: Curves, view: View, at: float) -> list[float] | None:
    """The accuracy of each arm; None where one had not begun."""
    values = [value_at(curves[arm], view.key, at) for arm in arms]
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else None


def _value(values: list[float] | None, images: int | None) -> Estimate | None:
    if values is None:
        return None
    if len(values) > 1:
        return estimate([np.array(values)[:, None]])
    (value,) = values
    half = Z * math.sqrt(value * (1 - value) / images) if images else math.nan
    return Estimate(value, value - half, value + half, 1, images or 1)


def _difference(ours: list[float] | None, theirs: list[float] | None, images: int | None) -> Estimate | None:
    if ours is None or theirs is None:
        return None
    if len(ours) > 1:
        return estimate([(np.array(ours) - np.array(theirs))[:, None]])
    mean, both = ours[0] - theirs[0], (ours[0], theirs[0])
    half = Z * math.sqrt(sum(p * (1 - p) for p in both) / images) if images else math.nan
    return Estimate(mean, mean - half, mean + half, 1, images or 1)


def as_json(found: Sequence[Progress]) -> dict[str, list[dict[str, Any]]]:
    """For intervals.json: `at_equal`, of each view and group, and `speedups`, of each group and view."""
    at_equal, speedups = [], []
    for one in found:
        same = {"control": one.control.name}
        for equal in one.equal:
            where = {"view": equal.view.key, "at": equal.at, **same}
            for name, value in equal.values.items():
                difference = _plain(equal.differences.get(name))
                at_equal.append({"arm": name, **where, ACCURACY: _plain(value), "difference": difference})
        for name, by_view in one.speedups.items():
            for key, speed in by_view.items():
                parts = {part: _finite(value) for part, value in asdict(speed).items()}
                speedups.append({"arm": name, "view": key, **same, "control_gains": one.gaining, **parts})
    return {"at_equal": at_equal, "speedups": speedups}


def _plain(found: Estimate | None) -> dict[str, Any] | None:
    return None if found is None else {part: _finite(value) for part, value in asdict(found).items()}


def _finite(value: Any) -> Any:
    """JSON has no nan."""
    return None if isinstance(value, float) and math.isnan(value) else value
