"""What the numbers say, in words: which policy beat the best control at equal spending, by how much, and how
certain that is.

A control selects nothing and curates nothing: uniform on the pool, on the reference alone, or on both. A
policy is compared with the best of them, for that is what a user could have run instead. An oracle, which
trains on what only planted corruption tells, is neither; nor is a frozen arm, the weights untouched, which
worth.py compares with the arms that train on from the same weights.

A policy has won if the 95 % interval of its difference to every control is above zero, and lost if that to
the best control is below; else the two are not distinguishable (winnow/report/compare/intervals.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.report.compare.budgets import allowance, spending
from winnow.report.compare.columns import MAIN, Column, Row, headlines, main_column
from winnow.report.compare.fairness import equal, noise, other_budgets, unequal
from winnow.report.compare.groups import Group
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.table import backbone_of, choice, is_control, is_oracle, trained
from winnow.report.compare.worth import known, unknown_start, worth
from winnow.report.page import numbers


@dataclass(frozen=True)
class Verdict:
    """`spending` says what was spent, each of `findings` what came of it, `certainty` how sure that is."""

    spending: str
    findings: list[str]
    certainty: str

    @property
    def markdown(self) -> str:
        """A list below the table; empty where nothing was compared."""
        lines = [self.spending, *self.findings, self.certainty]
        return "\n" + "".join(f"- {line}\n" for line in lines if line) if self.findings else ""

    def __str__(self) -> str:
        return " ".join(part for part in (self.spending, *self.findings, self.certainty) if part)


@dataclass(frozen=True)
class Family:
    """The groups of one method and backbone on one task set, each list best first."""

    name: str
    column: Column
    policies: list[Group]
    controls: list[Group]
    oracles: list[Group]


def verdict(groups: list[Group], intervals: Intervals) -> Verdict:
    """What is said of a comparison."""
    if not groups:
        return Verdict("No arm was run.", [], "")
    table = [group.row for group in groups]
    columns = [one for one in headlines(table) if one.metric == MAIN and len(one.sets) == 1]
    findings = []
    for column in columns:
        where = f" on {column.group}" if len(columns) > 1 else ""
        for family in families(groups, column, where):
            findings.append(_finding(family, intervals))
        findings += worth(groups, column, intervals, where)
    if not columns:
        findings.append("No task set was measured by a linear probe, so no arm is said to be better.")
    findings += [*other_budgets(table), *unknown_start(table)]
    return Verdict(_spending(table), findings, _certainty(groups, intervals))


def families(groups: Sequence[Group], column: Column, where: str = "") -> list[Family]:
    """Those that were measured so.

    An arm with less to spend than others is left out: it made the weights that they start from.
    """
    moved = [group for group in groups if not group.row.get("frozen")]
    names = dict.fromkeys((group.row["method"], backbone_of(group.row)) for group in moved)
    many, found = len({backbone for _, backbone in names}) > 1, []
    for method, backbone in names:
        members = [g for g in moved if (g.row["method"], backbone_of(g.row)) == (method, backbone)]
        most = max(allowance(group.row) for group in members)
        members = [g for g in members if allowance(g.row) == most and column.value(g.row) is not None]
        if members:
            name = (f"{method} on {backbone}" if many else method) + where
            found.append(_family(name, members, column))
    return found


def as_json(groups: Sequence[Group], intervals: Intervals) -> dict[str, list[Row]]:
    """The estimates of all groups, and on each task set their differences to the best control."""
    columns = headlines([group.row for group in groups])
    main = [one for one in columns if one.metric == MAIN]
    compared = [
        intervals.compared(group.name, family.controls[0].name, column)
        for column in main
        for family in families(groups, column)
        for group in [*family.policies, *family.controls[1:], *family.oracles]
        if family.controls
    ]
    return {"groups": [intervals.as_json(group.name, columns) for group in groups], "differences": compared}


def against_best_control(groups: Sequence[Group], intervals: Intervals) -> dict[str, str]:
    """Group -> how much its linear top-1 is above that of its family's best control, with the interval; the
    mean over the sets where there are several. Empty where no family has a control beside another group.
    """
    column = main_column([group.row for group in groups])
    found = {}
    for family in families(groups, column) if column else []:
        best, *others = [*family.controls, *family.policies, *family.oracles]
        if not family.controls or not others:
            continue
        found[best.name] = "best control"
        for group in others:
            gain = intervals.difference(group.name, best.name, family.column)
            assert gain is not None  # both were measured
            within = f" ({numbers.interval(gain)})" if gain.known else ""
            found[group.name] = f"{numbers.signed(gain.mean)}{within}"
    return found


def _family(name: str, members: list[Group], column: Column) -> Family:
    members = sorted(members, key=lambda group: -(column.value(group.row) or 0.0))
    oracles = [group for group in members if is_oracle(group.row)]
    controls = [group for group in members if is_control(group.row)]
    policies = [group for group in members if group not in oracles and group not in controls]
    return Family(name, column, policies, controls, oracles)


def _spending(table: list[Row]) -> str:
    if timed := spending(table):
        return timed
    totals = [row["flops"]["total"] for row in trained(table)]
    if equal(table):
        counted = "everything counted" if all(map(known, table)) else "everything known counted"
        return f"Every arm spent the same, {numbers.flops(max(totals))}, {counted}."
    low, high = numbers.flops(min(totals)), numbers.flops(max(totals))
    return f"The arms spent unequal amounts, {low} to {high}: compare by the horizontal axes, not by rank."


def _finding(family: Family, intervals: Intervals) -> str:
    """What is said of a family."""
    said = _compared(family, intervals)
    if family.oracles and (family.policies or family.controls):
        top1 = _top1(family, family.oracles[0])
        said.append(f"With the uncorrupted part of the pool alone, which no user knows, it would be {top1}.")
    return " ".join(said)


def _top1(family: Family, group: Group) -> str:
    return numbers.percent(family.column.value(group.row))


def _compared(family: Family, intervals: Intervals) -> list[str]:
    name, policies, controls = family.name, family.policies, family.controls
    if not policies or not controls:
        (first, *rest), kind = (policies or controls or family.oracles), "control" if controls else "policy"
        top1 = _top1(family, first)
        if not rest:
            return [f"With {name}, only {choice(first.row)} was run: {top1} linear-probe top-1."]
        lacks = "no policy" if controls else "no control"
        found = f"{choice(first.row)} is the best {kind} at {top1}"
        return [f"With {name}, {found}; there is {lacks} to compare with."]
    best, rival = policies[0], _rival(family, policies[0], intervals)
    said = [_against(family, best, rival, intervals) + unequal(best.row, rival.row)]
    return [*said, *_losers(family, intervals), *_exceptions(best, rival, family.column, intervals)]


def _rival(family: Family, policy: Group, intervals: Intervals) -> Group:
    """The best control, or the first that the policy, which is above it, is not surely above."""
    best, *others = family.controls
    if not _above(policy, best, family.column, intervals):
        return best
    return next((one for one in others if not _above(policy, one, family.column, intervals)), best)


def _above(one: Group, other: Group, column: Column, intervals: Intervals) -> bool:
    found = intervals.difference(one.name, other.name, column)
    return found is not None and found.known and found.low > 0


def _against(family: Family, best: Group, rival: Group, intervals: Intervals) -> str:
    name, ours, its = family.name, _top1(family, best), _top1(family, rival)
    found = intervals.difference(best.name, rival.name, family.column)
    assert found is not None  # both were measured
    policy, control = choice(best.row), choice(rival.row)
    if rival is family.controls[0]:
        control = f"the best control, {control}"
    if not found.known:
        return (
            f"With {name}, {policy} reached {ours} linear-probe top-1, {control}, {its}; nothing tells how "
            "far chance reaches."
        )
    # One seed proves nothing: another may say otherwise.
    name, beat = (f"{name} and one seed", "is ahead of") if found.seeds == 1 else (name, "beat")
    by = numbers.gap(found.mean, found)
    if found.low > 0:
        return f"With {name}, {policy} {beat} {control}: {ours} linear-probe top-1 against {its}, {by}."
    tie = f"{control}," if rival is family.controls[0] else control
    if found.high < 0:
        return (
            f"With {name}, no policy {beat} {control}: it reached {its} linear-probe top-1, the best policy, "
            f"{policy}, {ours}, {by}."
        )
    return (
        f"With {name}, {policy} and {tie} are not distinguishable: {ours} linear-probe top-1 against "
        f"{its}, {by}."
    )


def _losers(family: Family, intervals: Intervals) -> list[str]:
    """The policies that are surely worse than the best control, where the best one is not."""
    control, (best, *others) = family.controls[0], family.policies
    if _above(control, best, family.column, intervals):
        return []
    worse = [group for group in others if _above(control, group, family.column, intervals)]
    if not worse:
        return []

    def named(some: list[Group]) -> str:
        return _listed([f"{choice(group.row)} ({_top1(family, group)})" for group in some])

    repeated = len(control.rows) > 1
    beaten = [group for group in worse if repeated and len(group.rows) > 1]
    ahead = [group for group in worse if group not in beaten]
    said = [f"beat {named(beaten)}"] if beaten else []
    if ahead:
        said.append(f"is ahead of {named(ahead)}" + (" by the one seed there is" if repeated else ""))
    name = choice(control.row)
    return [f"{name[0].upper()}{name[1:]} {', and '.join(said)}."]


def _exceptions(best: Group, control: Group, column: Column, intervals: Intervals) -> list[str]:
    """The other headline metrics of the set by which the control is surely ahead of the best policy."""

    def shares(one: Column) -> str:
        its, ours = (numbers.percent(one.value(group.row)) for group in (control, best))
        return f"{one.title} ({its} against {ours})"

    ahead = [
        shares(one)
        for one in headlines([best.row, control.row])
        if one.metric != MAIN and one.sets == column.sets and _above(control, best, one, intervals)
    ]
    if not ahead or _above(control, best, column, intervals):
        return []
    return [f"By other metrics, {choice(control.row)} is ahead of {choice(best.row)}: {_listed(ahead)}."]


def _certainty(groups: list[Group], intervals: Intervals) -> str:
    return " ".join(part for part in (_intervals(groups), noise(groups, intervals)) if part)


def _intervals(groups: list[Group]) -> str:
    moved = [group for group in groups if not group.row.get("frozen")] or groups
    once = [choice(group.row) for group in moved if len(group.rows) == 1]
    if len(once) == len(moved):
        return (
            "One seed an arm: the intervals hold the chance of the test images alone, and another seed may "
            "order the arms differently."
        )
    least = min(len(group.rows) for group in moved if len(group.rows) > 1)
    said = (
        f"Intervals are 95 %, over {least} seeds or more and the test images, both paired; 1 in 20 such "
        "intervals misses the truth."
    )
    if once:
        names, has = _listed(once), "has" if len(once) == 1 else "have"
        said += (
            f" {names[0].upper()}{names[1:]} {has} one seed: compared with the same seed of others, by an "
            "interval that holds the chance of the test images alone."
        )
    return said


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
