"""How much sooner an arm is as good as its control ever was, read so that a plateau buys nothing.

The target is the control's earliest reading within one standard error of its best one, and the control is
charged for that reading alone: what it spent afterwards bought it nothing that its noise does not. (Charged
to the end of its plateau a control makes any arm look fast: with one seed of the shuffled captions 4.7 times
fewer FLOPs are at most 2.4.) The arm is charged up to where it first reaches the target and stays, linear
between two readings; staying is never to be read more than one standard error below the target again.

With several seeds the ratio is the geometric mean of the seeds' own, each arm's seed against the control's of
the same number, and its interval is Student's over the logarithms.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from winnow.evaluation.statistics import estimate

Curve = Sequence[tuple[float, float]]  # cost and accuracy of each reading, by increasing cost
LAST = 3  # the control's gain is that of the last one of so many parts of its readings


@dataclass(frozen=True)
class Reached:
    """Where a curve reaches a target; `by` says that it is the first reading: it may have been sooner."""

    cost: float
    by: bool = False


@dataclass(frozen=True)
class Speedup:
    """An arm against its control, each tuple by seed; None where a seed never reaches its target.

    `ratio` is None unless every seed reaches it. `bound` is "" or says that the ratio is one `at least` or
    `at most`, because a curve was there by its first reading; None where both were, and nothing is known.
    """

    targets: tuple[float, ...]
    control_costs: tuple[float, ...]
    arm_costs: tuple[float | None, ...]
    ratio: float | None
    low: float
    high: float
    bound: str | None

    @property
    def reached(self) -> int:
        """How many seeds reach their target."""
        return sum(cost is not None for cost in self.arm_costs)

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.ratio is not None and not math.isnan(self.low)


def target(control: Curve, error: float) -> tuple[float, float]:
    """Cost and accuracy of the control's earliest reading within one standard error of its best."""
    best = max(value for _, value in control)
    return next((cost, value) for cost, value in control if value >= best - error)


def reaches(curve: Curve, value: float, error: float) -> Reached | None:
    """Where the curve first reaches an accuracy and stays; None where it does not."""
    for place, (cost, found) in enumerate(curve):
        rest = [later for _, later in curve[place + 1 :]]
        if found < value or min(rest, default=value) < value - error:
            continue
        if not place:
            return Reached(cost, by=True)
        before, less = curve[place - 1]
        return Reached(before + (value - less) / (found - less) * (cost - before))
    return None


def speedup(arms: Sequence[Curve], controls: Sequence[Curve], errors: Sequence[float]) -> Speedup:
    """The arm's seeds against the control's.

    Args:
        errors: the standard error of a reading of each control.
    """
    aims = [target(control, error) for control, error in zip(controls, errors, strict=True)]
    found = [reaches(arm, value, error) for arm, (_, value), error in zip(arms, aims, errors, strict=True)]
    early = any(cost == control[0][0] for (cost, _), control in zip(aims, controls, strict=True))
    bound = _bound(early, any(one is not None and one.by for one in found))
    charged = [cost for cost, _ in aims]
    ratio, low, high = None, math.nan, math.nan
    ratios = [cost / one.cost for cost, one in zip(charged, found, strict=True) if one and one.cost]
    if len(ratios) == len(found) and bound is not None:
        logs = estimate([np.log(ratios)[:, None]])
        ratio, low, high = (math.exp(one) for one in (logs.mean, logs.low, logs.high))
    values = tuple(value for _, value in aims)
    costs = tuple(one.cost if one else None for one in found)
    return Speedup(values, tuple(charged), costs, ratio, low, high, bound)


def _bound(control_early: bool, arm_early: bool) -> str | None:
    if control_early and arm_early:
        return None
    return "at most" if control_early else "at least" if arm_early else ""


def still_gaining(control: Curve, error: float) -> bool | None:
    """Whether the line through the last third of the readings rises by more than one standard error; None
    where these are fewer than three, too few to tell.
    """
    last = control[-math.ceil(len(control) / LAST) :]
    if len(last) < 3:
        return None
    cost, value = np.array(last).T
    slope = np.polyfit((cost - cost[0]) / (cost[-1] - cost[0]), value, 1)[0]  # the gain over these readings
    return bool(slope > error)


def reading_error(control: Sequence[Curve], images: int | None) -> list[float]:
    """The standard error of one reading of each seed's best: that of a share of so many images, or the spread
    over the seeds where it is larger; 0 where neither is known.
    """
    best = [max(value for _, value in curve) for curve in control]
    spread = float(np.std(best, ddof=1)) if len(best) > 1 else 0.0
    return [max(math.sqrt(one * (1 - one) / images) if images else 0.0, spread) for one in best]
