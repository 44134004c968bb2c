"""What the courses of training say: accuracy at equal FLOPs, seconds and examples, and how much sooner an arm
is as good as the best control (speedup.py).

All of it is read on val, by kNN, for there alone an encoder is measured while it is trained; the control is
the one that the verdict compares with, of the same method, backbone and budget. Intervals are over seeds,
which are paired, and val images. What was found on each image is not recorded, so the images' part of a
difference is that of two arms which drew their own: an upper bound, for arms err on the same hard images.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from winnow.evaluation.curve import Row as Reading
from winnow.evaluation.statistics import Estimate
from winnow.report.compare.columns import main_column
from winnow.report.compare.groups import Group
from winnow.report.compare.intervals import paired
from winnow.report.compare.speedup import Speedup, reading_error, speedup, still_gaining
from winnow.report.compare.verdict import Family, families
from winnow.report.compare.views import ACCURACY, VIEWS, View, reached_by_all, value_at

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
    return None if values is None else _estimate(values, [values], images)


def _difference(ours: list[float] | None, theirs: list[float] | None, images: int | None) -> Estimate | None:
    if ours is None or theirs is None:
        return None
    return _estimate([a - b for a, b in zip(ours, theirs, strict=True)], [ours, theirs], images)


def _estimate(values: list[float], shares: Sequence[list[float]], images: int | None) -> Estimate:
    """The mean of the seeds' values and its interval, Student's with Satterthwaite's degrees of freedom.

    Args:
        shares: what each arm's share of hits is, which gives the variance of the images.
    """
    seeds, mean, parts = len(values), float(np.mean(values)), []
    if seeds > 1:
        parts.append((float(np.var(values, ddof=1)) / seeds, seeds - 1))
    if images and images > 1:
        spread = sum(share * (1 - share) for share in (float(np.mean(some)) for some in shares))
        parts.append((spread / images, images - 1))
    weight = sum(part**2 / freedom for part, freedom in parts)
    if not parts:
        return Estimate(mean, math.nan, math.nan, seeds, 1)
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / weight if weight else max(freedom for _, freedom in parts)
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half, seeds, images or 1)


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
