"""What progress.py found, as cells and sentences, which the page and table.md share."""

from collections.abc import Sequence
from dataclasses import dataclass

from winnow.evaluation.statistics import Estimate
from winnow.report.compare.groups import Group
from winnow.report.compare.progress import Equal, Progress
from winnow.report.compare.speedup import Speedup
from winnow.report.compare.table import choice, is_oracle
from winnow.report.compare.views import EXAMPLES, FLOPS, READ, SECONDS
from winnow.report.page import numbers

FEWER = {FLOPS.key: "times fewer FLOPs", SECONDS.key: "times less time", EXAMPLES.key: "times fewer examples"}
NEVER = "never reaches it within this budget"


@dataclass(frozen=True)
class Cells:
    """A table: `head`, and `rows` of as many cells; `notes` are sentences about it."""

    head: list[str]
    rows: list[list[str]]
    notes: list[str]

    @property
    def markdown(self) -> str:
        """Without padding, for cells are long."""
        lines = [self.head, ["---"] + ["---:"] * (len(self.head) - 1), *self.rows]
        text = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
        return text + "\n" + "".join(f"- {note}\n" for note in self.notes)


def markdown(found: Sequence[Progress]) -> str:
    """Both tables of each family, below the comparison's; empty where nothing can be said."""
    text = ""
    for one in found:
        of = f", {one.family.name}" if len(found) > 1 else ""
        text += f"\nAt equal cost ({READ}{of}):\n\n{at_equal(one).markdown}"
        text += f"\nUntil an arm is as good as {one.control.name} was{of}:\n\n{sooner(one).markdown}"
    return text


def at_equal(one: Progress) -> Cells:
    """Accuracy of each arm, and its difference to the control, in each view."""
    head = ["arm", *(f"at equal {equal.view.name}: {equal.view.amount(equal.at)}" for equal in one.equal)]
    rows = [
        [_name(one, group), *(_reading(equal, group.name) for equal in one.equal)] for group in one.groups
    ]
    return Cells(head, rows, [said for equal in one.equal for said in _said(one, equal)])


def _name(one: Progress, group: Group) -> str:
    role = " (best control)" if group is one.control else " (oracle)" if is_oracle(group.row) else ""
    return group.name + role


def _reading(equal: Equal, name: str) -> str:
    value = equal.values[name]
    if value is None:
        return "not begun"
    text = numbers.percent_of(value.mean, value)
    found = equal.differences.get(name)
    return f"{text}, {_signed(found)}" if found else text


def _signed(found: Estimate) -> str:
    within = f" ({numbers.interval(found)})" if found.known else ""
    return f"{numbers.signed(found.mean)}{within}"


def _said(one: Progress, equal: Equal) -> list[str]:
    """A sentence on the policy that is the best in this view; none where no policy had begun."""
    values = {group.name: equal.values[group.name] for group in one.family.policies}
    begun = {name: value.mean for name, value in values.items() if value is not None}
    late = [name for name, value in values.items() if value is None]
    where, said = f"At equal {equal.view.name}", []
    if begun:
        best = max(begun, key=lambda name: begun[name])
        found = equal.differences[best]
        if found is None:
            said.append(f"{where}, {one.control.name} had no reading yet.")
        else:
            said.append(f"{where}, {_compared(best, one.control.name, found)}")
    if late:
        are = "had" if len(late) > 1 else "has"
        said.append(f"{where}, {', '.join(late)} {are} no reading yet: what comes before takes longer.")
    return said


def _compared(best: str, control: str, found: Estimate) -> str:
    if not found.known:
        apart = f"{numbers.points(found.mean)} {'ahead of' if found.mean > 0 else 'behind'} {control}"
        return f"{best} is {apart}; nothing tells how far chance reaches."
    by = numbers.gap(found.mean, found)
    if found.low <= 0 <= found.high:
        return f"{best}, the best policy, and {control} are not distinguishable: {by}."
    return f"{best}, the best policy, is {'ahead of' if found.low > 0 else 'behind'} {control}: {by}."


def sooner(one: Progress) -> Cells:
    """What each arm needs to be as good as the control was, and how many times less that is."""
    keys = [equal.view.key for equal in one.equal]
    head = ["arm", "target", "the control's FLOPs", "the arm's FLOPs", *(FEWER[key] for key in keys)]
    rows = []
    for group in one.groups[1:]:
        speeds = one.speedups[group.name]
        main = speeds[FLOPS.key]
        cells = [numbers.percent(_mean(main.targets)), numbers.flops(_mean(main.control_costs)), _arm(main)]
        rows.append([_name(one, group), *cells, *(times(speeds[key]) for key in keys)])
    return Cells(head, rows, _notes(one))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _arm(speed: Speedup) -> str:
    known = [cost for cost in speed.arm_costs if cost is not None]
    if len(known) == len(speed.arm_costs):
        return numbers.flops(_mean(known))
    return NEVER if not known else f"{len(known)} of {len(speed.arm_costs)} seeds reach it"


def times(speed: Speedup) -> str:
    """The ratio with its interval."""
    if speed.ratio is None:
        return "–" if speed.reached < len(speed.arm_costs) else "unknown"
    bound = f"{speed.bound} " if speed.bound else ""
    within = f" ({speed.low:.2f} to {speed.high:.2f})" if speed.known else ""
    return f"{bound}{speed.ratio:.2f}{within}"


def _notes(one: Progress) -> list[str]:
    name, control = one.control.name, choice(one.control.row)
    notes = [
        f"The target is the earliest reading of the best control, {control}, within one standard error of "
        "its best, and the control is charged up to that reading alone. An arm is charged up to where it "
        "first reaches the target and stays, linear between two readings."
    ]
    if one.gaining is None:
        notes.append(
            f"{name} has too few readings to tell whether it was still gaining when its budget ended."
        )
    elif one.gaining:
        notes.append(
            f"{name} was still gaining when its budget ended, so this is no speed-up of longer runs."
        )
    else:
        notes.append(
            f"{name} had stopped gaining when its budget ended: the last third of its readings rose by "
            "less than a standard error."
        )
    if len(one.control.rows) == 1:
        notes.append("One seed: how far another seed's ratio would be is unknown, so none has an interval.")
    else:
        notes.append("Ratios are geometric means over the seeds, with 95 % intervals over the seeds alone.")
    return notes
