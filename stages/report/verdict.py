"""What the numbers say, in words: which policy won at the same spending, by how much, where uniform wins, and how sure one can be.

Two arms differ when their linear top-1 differ by more than two standard errors of a difference of two shares counted on n test
images, 2 sqrt(p (1 - p) 2 / n). That is the noise of the test set alone; the noise of training shows only between seeds.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from stages.report import numbers
from stages.report.dirt import Dirt
from stages.report.table import MAIN, Row, choice, headlines

CONTROL = "uniform"


@dataclass(frozen=True)
class Group:
    """The mean over seeds of one policy with one method and backbone."""

    policy: str
    rows: list[Row]

    def mean(self, key: str = MAIN) -> float:
        return sum(row["tasks"][key] for row in self.rows) / len(self.rows)

    def has(self, key: str) -> bool:
        return all(key in row["tasks"] for row in self.rows)


def verdict(table: list[Row], tested: int, dirt: Dirt) -> list[str]:
    """Sentences of one paragraph; `tested` is the number of test images behind the linear probe."""
    sentences = [_spending(table)]
    families = {(row["method"], row["backbone"]): None for row in table}
    many = len({backbone for _, backbone in families}) > 1
    for method, backbone in families:
        name = f"{method} on {backbone}" if many else method
        members = [row for row in table if (row["method"], row["backbone"]) == (method, backbone)]
        sentences += _family(name, _groups(members), tested, dirt)
    return [*sentences, _sureness(table)]


def _groups(members: list[Row]) -> list[Group]:
    """Best first."""
    policies = {choice(row): None for row in members}
    groups = [Group(policy, [row for row in members if choice(row) == policy]) for policy in policies]
    return sorted(groups, key=lambda group: -group.mean())


def equal(table: Iterable[Row], tolerance: float = 0.02) -> bool:
    """Whether the arms spent the same FLOPs: each total within 1 % of the budget, so within 2 % of each other."""
    totals = [row["flops"]["total"] for row in table]
    return max(totals) - min(totals) <= tolerance * max(totals)


def _spending(table: list[Row]) -> str:
    if equal(table):
        whole = max(row["flops"]["total"] for row in table)
        return f"Every arm spent the same: {numbers.flops(whole)}, everything counted."
    low, high = (numbers.flops(pick(row["flops"]["total"] for row in table)) for pick in (min, max))
    return f"The arms spent unequal amounts, from {low} to {high}: compare them along the horizontal axes, not by rank."


def _family(name: str, groups: list[Group], tested: int, dirt: Dirt) -> list[str]:
    control = next((group for group in groups if group.policy == CONTROL), None)
    if len(groups) == 1:
        return [f"With {name} only {groups[0].policy} was run, at {numbers.percent(groups[0].mean())} linear-probe top-1."]
    best = groups[0]
    if control is None:
        return [f"With {name}, {best.policy} is best at {numbers.percent(best.mean())}; there is no uniform arm to compare with."]
    noise = 2 * math.sqrt(max(best.mean() * (1 - best.mean()), 0.0) * 2 / tested)
    other = groups[1] if best is control else best
    first = _uniform_wins(name, other, control, noise) if best is control else _winner(name, best, control, noise, tested)
    return [first + _seen(other, control, dirt), *_losers(groups, control, noise), *_exceptions(groups, control)]


def _winner(name: str, best: Group, control: Group, noise: float, tested: int) -> str:
    gain = best.mean() - control.mean()
    reached = f"{numbers.percent(best.mean())} linear-probe top-1 against {numbers.percent(control.mean())}"
    if gain <= noise:
        return (
            f"With {name} there is no difference to speak of: {best.policy} has {reached} for uniform, and {tested:,} test "
            f"images resolve {numbers.points(noise)}"
        )
    return f"With {name}, {best.policy} won: {reached} for uniform, {numbers.points(gain)} more"


def _uniform_wins(name: str, second: Group, control: Group, noise: float) -> str:
    gap = control.mean() - second.mean()
    close = ", less than the test set resolves" if gap <= noise else ""
    return (
        f"With {name}, no policy beat uniform: it reached {numbers.percent(control.mean())} linear-probe top-1, the next, "
        f"{second.policy}, {numbers.percent(second.mean())} ({numbers.points(gap)} less{close})"
    )


def _seen(group: Group, control: Group, dirt: Dirt) -> str:
    """What both trained on for their FLOPs: how many images, and how much of them was dirt."""
    mine, its = _trained_on(group, dirt), _trained_on(control, dirt)
    return f"; {group.policy} trained on {mine}, {control.policy} on {its}."


def _trained_on(group: Group, dirt: Dirt) -> str:
    images = sum(row["examples_seen"] for row in group.rows) / len(group.rows)
    share = sum(dirt.total(row["arm"]) for row in group.rows) / len(group.rows)
    return f"{numbers.thousands(images)} images" + (f" ({numbers.percent(share)} dirt)" if dirt.kinds else "")


def _losers(groups: list[Group], control: Group, noise: float) -> list[str]:
    worse = [group for group in groups if control.mean() - group.mean() > noise]
    if not worse or groups[0] is control:
        return []
    names = _listed([f"{group.policy} ({numbers.percent(group.mean())})" for group in worse])
    return [f"Uniform beat {names}."]


def _exceptions(groups: list[Group], control: Group) -> list[str]:
    """The other headline metrics in which uniform is ahead of the policy with the best linear probe."""
    best, titles = groups[0], headlines(row for group in groups for row in group.rows)
    if best is control:
        return []
    ahead = [
        f"{title} ({numbers.percent(control.mean(key))} against {numbers.percent(best.mean(key))})"
        for key, title in titles.items()
        if key != MAIN and control.has(key) and best.has(key) and control.mean(key) > best.mean(key)
    ]
    return [f"In other tasks uniform is ahead of {best.policy}: {_listed(ahead)}."] if ahead else []


def _sureness(table: list[Row]) -> str:
    cells = [(choice(row), row["method"], row["backbone"]) for row in table]
    least = min(cells.count(cell) for cell in cells)
    if least == 1:
        return "One seed an arm (n = 1): no statistical significance can be claimed, and another seed may order the arms differently."
    return f"Means over at least {least} seeds; no test of significance was made."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
