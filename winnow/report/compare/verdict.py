"""What the numbers say, in words: which policy won at equal spending, by how much, where uniform wins, and
how certain that is.

Two arms differ if their linear top-1 differ by more than two standard errors of the difference of two shares
that were counted on n test images, 2 sqrt(p (1 - p) 2 / n). That is the noise of the test set alone; only
several seeds show the noise of training.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.table import CONTROL, MAIN, Row, choice, headlines
from winnow.report.page import numbers


@dataclass(frozen=True)
class Group:
    """The seeds of one policy (or version) with one method and backbone."""

    policy: str
    rows: list[Row]

    def mean(self, key: str = MAIN) -> float:
        """The metric's mean over the seeds."""
        return sum(row["tasks"][key] for row in self.rows) / len(self.rows)

    def has(self, key: str) -> bool:
        return all(key in row["tasks"] for row in self.rows)


def verdict(table: list[Row], tested: int, corruption: CorruptionShares) -> list[str]:
    """The sentences of one paragraph.

    Args:
        tested: the number of test images of the linear probe.
    """
    sentences = [_spending(table)]
    families = {(row["method"], row["backbone"]): None for row in table}
    many = len({backbone for _, backbone in families}) > 1
    for method, backbone in families:
        name = f"{method} on {backbone}" if many else method
        members = [row for row in table if (row["method"], row["backbone"]) == (method, backbone)]
        sentences += _family(name, _groups(members), tested, corruption)
    return [*sentences, _certainty(table)]


def _groups(members: list[Row]) -> list[Group]:
    """Best first."""
    policies = {choice(row): None for row in members}
    groups = [Group(policy, [row for row in members if choice(row) == policy]) for policy in policies]
    return sorted(groups, key=lambda group: -group.mean())


def equal(table: Iterable[Row], tolerance: float = 0.02) -> bool:
    """Whether the arms spent the same FLOPs: each within 1 % of the budget, so within 2 % of each other."""
    totals = [row["flops"]["total"] for row in table]
    return max(totals) - min(totals) <= tolerance * max(totals)


def _spending(table: list[Row]) -> str:
    totals = [row["flops"]["total"] for row in table]
    if equal(table):
        return f"Every arm spent the same, {numbers.flops(max(totals))}, everything counted."
    low, high = numbers.flops(min(totals)), numbers.flops(max(totals))
    return f"The arms spent unequal amounts, {low} to {high}: compare by the horizontal axes, not by rank."


def _family(name: str, groups: list[Group], tested: int, corruption: CorruptionShares) -> list[str]:
    """What is said of the arms of one method and backbone."""
    best, top1 = groups[0], numbers.percent(groups[0].mean())
    if len(groups) == 1:
        return [f"With {name}, only {best.policy} was run: {top1} linear-probe top-1."]
    control = next((group for group in groups if group.policy == CONTROL), None)
    if control is None:
        return [f"With {name}, {best.policy} is best at {top1}; there is no uniform arm to compare with."]
    noise = 2 * math.sqrt(max(best.mean() * (1 - best.mean()), 0.0) * 2 / tested)
    if best is control:
        first, other = _uniform_wins(name, groups[1], control, noise), groups[1]
    else:
        first, other = _winner(name, best, control, noise, tested), best
    images = (
        f"{other.policy} trained on {_images(other, corruption)}, {CONTROL} on {_images(control, corruption)}"
    )
    return [f"{first}; {images}.", *_losers(groups, control, noise), *_exceptions(groups, control)]


def _winner(name: str, best: Group, control: Group, noise: float, tested: int) -> str:
    gain = best.mean() - control.mean()
    top1, its = numbers.percent(best.mean()), numbers.percent(control.mean())
    against = f"{top1} linear-probe top-1 against {its} for uniform"
    if gain > noise:
        return f"With {name}, {best.policy} won: {against}, {numbers.points(gain)} more"
    within = f"on {tested:,} test images, less than {numbers.points(noise)} is noise"
    return f"With {name}, there is no clear difference: {best.policy} reached {against}, and {within}"


def _uniform_wins(name: str, second: Group, control: Group, noise: float) -> str:
    gap = control.mean() - second.mean()
    top1, its = numbers.percent(control.mean()), numbers.percent(second.mean())
    close = ", within the noise of the test set" if gap <= noise else ""
    return (
        f"With {name}, no policy beat uniform: it reached {top1} linear-probe top-1, the next best, "
        f"{second.policy}, {its} ({numbers.points(gap)} less{close})"
    )


def _images(group: Group, corruption: CorruptionShares) -> str:
    """How many images a group trained on, and which share of them was corrupted."""
    images = sum(row["examples_seen"] for row in group.rows) / len(group.rows)
    share = sum(corruption.total(row["arm"]) for row in group.rows) / len(group.rows)
    return f"{numbers.thousands(images)} images" + (
        f" ({numbers.percent(share)} corrupted)" if corruption.kinds else ""
    )


def _losers(groups: list[Group], control: Group, noise: float) -> list[str]:
    worse = [group for group in groups if control.mean() - group.mean() > noise]
    if not worse or groups[0] is control:
        return []
    names = _listed([f"{group.policy} ({numbers.percent(group.mean())})" for group in worse])
    return [f"Uniform beat {names}."]


def _exceptions(groups: list[Group], control: Group) -> list[str]:
    """The other headline metrics by which uniform is ahead of the policy with the best linear probe."""
    best, titles = groups[0], headlines(row for group in groups for row in group.rows)
    if best is control:
        return []
    ahead = [
        f"{title} ({numbers.percent(control.mean(key))} against {numbers.percent(best.mean(key))})"
        for key, title in titles.items()
        if key != MAIN and control.has(key) and best.has(key) and control.mean(key) > best.mean(key)
    ]
    return [f"By other metrics, uniform is ahead of {best.policy}: {_listed(ahead)}."] if ahead else []


def _certainty(table: list[Row]) -> str:
    cells = [(choice(row), row["method"], row["backbone"]) for row in table]
    least = min(cells.count(cell) for cell in cells)
    if least == 1:
        return (
            "With one seed per arm (n = 1), no statistical significance can be claimed, and another seed may "
            "order the arms differently."
        )
    return f"Means over at least {least} seeds; no test of significance was made."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
