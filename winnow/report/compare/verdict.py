"""What the numbers say, in words: which policy beat the best control at equal spending, by how much, and how
certain that is.

A control selects nothing and curates nothing: uniform on the pool, on the reference alone, or on both. A
policy is compared with the best of them, for that is what a user could have run instead. An oracle, which
trains on what only planted corruption tells, is neither; nor is a frozen arm, the weights untouched, which
worth.py compares with the arms that train on from the same weights.

Two arms differ if their linear top-1 differ by more than two standard errors of the difference of two shares
that were counted on n test images, 2 sqrt(p (1 - p) 2 / n). That is the noise of the test set alone; only
several seeds show the noise of training.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from winnow.report.compare.columns import MAIN, Column, Row, headlines
from winnow.report.compare.corruption import CorruptionShares
from winnow.report.compare.table import backbone_of, choice, is_control, is_oracle, trained
from winnow.report.compare.worth import known, unknown_start, worth
from winnow.report.page import numbers


@dataclass(frozen=True)
class Group:
    """The seeds of one choice (policy, version) with one method and backbone, by one column."""

    choice: str
    rows: list[Row]
    column: Column

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return self.of(self.column)

    def of(self, column: Column) -> float:
        values = [column.value(row) for row in self.rows]
        return sum(value for value in values if value is not None) / len(values)

    def has(self, column: Column) -> bool:
        return all(column.value(row) is not None for row in self.rows)


@dataclass(frozen=True)
class Family:
    """The arms of one method and backbone on one task set, each list best first."""

    name: str
    policies: list[Group]
    controls: list[Group]
    oracles: list[Group]


def verdict(table: list[Row], tested: Mapping[str, int], corruption: CorruptionShares) -> list[str]:
    """The sentences of one paragraph.

    Args:
        tested: task set -> the number of its test images.
    """
    if not table:
        return ["No arm was run."]
    sentences, everything = [_spending(table)], table
    table = [row for row in table if not row.get("frozen")]
    families = {(row["method"], backbone_of(row)): None for row in table}
    many = len({backbone for _, backbone in families}) > 1
    columns = [one for one in headlines(everything) if one.metric == MAIN and len(one.sets) == 1]
    for column in columns:
        where = f" on {column.group}" if len(columns) > 1 else ""
        for method, backbone in families:
            name = (f"{method} on {backbone}" if many else method) + where
            members = [row for row in table if (row["method"], backbone_of(row)) == (method, backbone)]
            # An arm with less to spend is no seed of the others: it made the weights that others start from.
            most = max(row["budget"] for row in members)
            members = [row for row in members if row["budget"] == most and column.value(row) is not None]
            if members:
                family = _family(name, members, column)
                sentences += _sentences(family, tested[column.group], corruption)
        sentences += worth(everything, column, tested[column.group], where)
    if not columns:
        sentences.append("No task set was measured by a linear probe, so no arm is said to be better.")
    return [*sentences, *unknown_start(everything), _certainty(trained(everything))]


def _family(name: str, members: list[Row], column: Column) -> Family:
    choices = {choice(row): None for row in members}
    groups = [Group(one, [row for row in members if choice(row) == one], column) for one in choices]
    groups.sort(key=lambda group: -group.mean)
    oracles = [group for group in groups if is_oracle(group.rows[0])]
    controls = [group for group in groups if is_control(group.rows[0])]
    return Family(name, [g for g in groups if g not in oracles and g not in controls], controls, oracles)


def equal(table: Iterable[Row], tolerance: float = 0.02) -> bool:
    """Whether the arms that trained spent the same FLOPs: each within 1 % of the budget, so within 2 % of
    each other.
    """
    totals = [row["flops"]["total"] for row in trained(table)]
    return not totals or max(totals) - min(totals) <= tolerance * max(totals)


def _spending(table: list[Row]) -> str:
    totals = [row["flops"]["total"] for row in trained(table)]
    if equal(table):
        counted = "everything counted" if all(map(known, table)) else "everything known counted"
        return f"Every arm spent the same, {numbers.flops(max(totals))}, {counted}."
    low, high = numbers.flops(min(totals)), numbers.flops(max(totals))
    return f"The arms spent unequal amounts, {low} to {high}: compare by the horizontal axes, not by rank."


def _sentences(family: Family, tested: int, corruption: CorruptionShares) -> list[str]:
    """What is said of a family."""
    return [*_compared(family, tested, corruption), *_oracle(family)]


def _compared(family: Family, tested: int, corruption: CorruptionShares) -> list[str]:
    name, policies, controls = family.name, family.policies, family.controls
    if not policies or not controls:
        (first, *rest), kind = (policies or controls or family.oracles), "control" if controls else "policy"
        top1 = numbers.percent(first.mean)
        if not rest:
            return [f"With {name}, only {first.choice} was run: {top1} linear-probe top-1."]
        lacks = "no policy" if controls else "no control"
        return [
            f"With {name}, {first.choice} is the best {kind} at {top1}; there is {lacks} to compare with."
        ]
    best, control = policies[0], controls[0]
    noise = _noise(max(best.mean, control.mean), tested)
    sentence = _against(name, best, control, noise, tested)
    images = (
        f"{best.choice} trained on {_images(best, corruption)}, {control.choice} on "
        f"{_images(control, corruption)}"
    )
    return [f"{sentence}; {images}.", *_losers(family, noise), *_exceptions(best, control)]


def _noise(top1: float, tested: int) -> float:
    """Two standard errors of a difference of two such shares."""
    return 2 * math.sqrt(max(top1 * (1 - top1), 0.0) * 2 / max(tested, 1))


def _against(name: str, best: Group, control: Group, noise: float, tested: int) -> str:
    gain, top1, its = best.mean - control.mean, numbers.percent(best.mean), numbers.percent(control.mean)
    rival = f"{control.choice}, the best control"
    if gain > noise:
        against = f"{top1} linear-probe top-1 against {its} for {rival}"
        return f"With {name}, {best.choice} won: {against}, {numbers.points(gain)} more"
    if gain >= -noise:
        within = f"on {tested:,} test images, less than {numbers.points(noise)} is noise"
        reached = f"{top1} linear-probe top-1 against {its} for {rival}"
        return f"With {name}, there is no clear difference: {best.choice} reached {reached}, and {within}"
    return (
        f"With {name}, no policy beat the best control, {control.choice}: it reached {its} linear-probe "
        f"top-1, the best policy, {best.choice}, {top1} ({numbers.points(-gain)} less)"
    )


def _oracle(family: Family) -> list[str]:
    if not family.oracles or not (family.policies or family.controls):
        return []
    top1 = numbers.percent(family.oracles[0].mean)
    return [f"With the uncorrupted part of the pool alone, which no user knows, it would be {top1}."]


def _images(group: Group, corruption: CorruptionShares) -> str:
    """How many images a group trained on, and which share of them was corrupted."""
    images = sum(row["examples_seen"] for row in group.rows) / len(group.rows)
    share = sum(corruption.total(row["arm"]) for row in group.rows) / len(group.rows)
    return f"{numbers.thousands(images)} images" + (
        f" ({numbers.percent(share)} corrupted)" if corruption.kinds else ""
    )


def _losers(family: Family, noise: float) -> list[str]:
    """The policies that are clearly worse than the best control, where the best one is not."""
    control = family.controls[0]
    worse = [group for group in family.policies if control.mean - group.mean > noise]
    if not worse or worse[0] is family.policies[0]:
        return []
    names = _listed([f"{group.choice} ({numbers.percent(group.mean)})" for group in worse])
    return [f"{control.choice[0].upper()}{control.choice[1:]} beat {names}."]


def _exceptions(best: Group, control: Group) -> list[str]:
    """The other headline metrics of the set by which the control is ahead of the winning policy."""
    if best.mean <= control.mean:
        return []
    columns = headlines([*best.rows, *control.rows])
    ahead = [
        f"{one.title} ({numbers.percent(control.of(one))} against {numbers.percent(best.of(one))})"
        for one in columns
        if one.metric != MAIN and one.sets == best.column.sets
        if control.has(one) and best.has(one) and control.of(one) > best.of(one)
    ]
    return (
        [f"By other metrics, {control.choice} is ahead of {best.choice}: {_listed(ahead)}."] if ahead else []
    )


def _certainty(table: list[Row]) -> str:
    cells = [(choice(row), row["method"], backbone_of(row)) for row in table]
    least = min(cells.count(cell) for cell in cells)
    if least == 1:
        return (
            "With one seed per arm (n = 1), no statistical significance can be claimed, and another seed may "
            "order the arms differently."
        )
    return f"Means over at least {least} seeds; no test of significance was made."


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
