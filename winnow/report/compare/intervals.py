"""The interval of every number and of every difference in the comparison (winnow/evaluation/statistics.py).

Arms of one seed are paired: they have the same initial weights and order of examples, and all are measured on
the same test images.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

import numpy as np

from winnow.config.schema import Params
from winnow.evaluation.outcomes import FILE, read_outcomes
from winnow.evaluation.statistics import Estimate, estimate, improvement, interquartile_mean
from winnow.pipeline.stages import Stages
from winnow.pipeline.workspace import Workspace
from winnow.report.compare.columns import MAIN, Column, Row, sets_of
from winnow.report.compare.groups import Group
from winnow.report.compare.table import tasks_of

Outcomes = Mapping[tuple[str, str, str], np.ndarray]  # (arm, set, TASK.METRIC) -> a value for each test image


def outcomes_of(params: Params, workspace: Workspace) -> dict[tuple[str, str, str], np.ndarray]:
    """The outcomes of every arm that a task wrote down.

    Raises:
        ValueError: if two arms were measured on other test images.
    """
    found: dict[tuple[str, str, str], np.ndarray] = {}
    tested: dict[tuple[str, str], tuple[str, list[str]]] = {}
    stages = Stages.read(workspace.root)
    for arm in params.arms:
        for entry in tasks_of(stages, arm):
            path = workspace.root / entry.records / FILE
            if not path.is_file():  # a task without outcomes for each image, such as detection
                continue
            uids, values = read_outcomes(path)
            other, theirs = tested.setdefault((entry.name, str(entry.set)), (arm, uids))
            if theirs != uids:
                again = f"dvc repro {entry.address}"
                raise ValueError(f"{path}: other test images than those of arm {other}; run: {again}")
            found |= {(arm, str(entry.set), f"{entry.name}.{name}"): one for name, one in values.items()}
    return found


class Intervals:
    """Estimates of groups of arms by a column of the table."""

    def __init__(self, groups: Iterable[Group], outcomes: Outcomes) -> None:
        self._groups = {group.name: group for group in groups}
        self._outcomes = outcomes

    def of(self, name: str, column: Column) -> Estimate | None:
        """The mean of a group; None where it was not measured so."""
        rows = self._groups[name].rows
        if any(column.value(row) is None for row in rows):
            return None
        return estimate([self._table(rows, one, column.metric) for one in column.sets])

    def difference(self, name: str, other: str, column: Column) -> Estimate | None:
        """How much the first group is above the second one; None where one of them was not measured so.

        Seeds that both have are paired; where they have none in common, in their order.
        """
        ours, theirs = paired(self._groups[name].rows, self._groups[other].rows)
        if any(column.value(row) is None for row in [*ours, *theirs]):
            return None
        tables = []
        for one in column.sets:
            a, b = (self._table(rows, one, column.metric) for rows in (ours, theirs))
            tables.append(
                a - b if a.shape == b.shape else a.mean(1, keepdims=True) - b.mean(1, keepdims=True)
            )
        return estimate(tables)

    def improvement(self, name: str, other: str, column: Column) -> float | None:
        """The probability that a seed of the first is better; None where one has a single seed."""
        ours, theirs = (
            [value for row in self._groups[one].rows if (value := column.value(row)) is not None]
            for one in (name, other)
        )
        return improvement(ours, theirs) if min(len(ours), len(theirs)) > 1 else None

    def as_json(self, name: str, columns: Sequence[Column]) -> Row:
        """A group's seeds and, by each column, its mean and interval; the interquartile mean of linear top-1
        over seeds and task sets, where these are four or more.
        """
        rows, means = self._groups[name].rows, {}
        for column in columns:
            if found := self.of(name, column):
                means[column.name] = as_json(found)
        main = [row["tasks"].get(one, {}).get(MAIN) for row in rows for one in sets_of(rows)]
        known = [value for value in main if value is not None]
        middle = {"interquartile_mean": interquartile_mean(known)} if len(known) > 3 else {}
        seeds, arms = [row["seed"] for row in rows], self._groups[name].arms
        return {"arm": name, "arms": arms, "seeds": seeds, "metrics": means, **middle}

    def compared(self, name: str, control: str, column: Column) -> Row:
        """The difference to a control and, over seeds, the probability of improvement."""
        found, better = self.difference(name, control, column), self.improvement(name, control, column)
        assert found is not None  # both were measured
        pair = {"arm": name, "control": control, "metric": column.name, **as_json(found)}
        return pair if better is None else {**pair, "probability_of_improvement": better}

    def noise(self, name: str, column: Column) -> float | None:
        """The largest difference between two seeds of a group; None of a single one."""
        values = [value for row in self._groups[name].rows if (value := column.value(row)) is not None]
        return max(values) - min(values) if len(values) > 1 else None

    def _table(self, rows: Sequence[Row], task_set: str, metric: str) -> np.ndarray:
        """Outcomes (seeds, images); the metric, (seeds, 1), where those of single images are unknown."""
        found = [self._outcomes.get((row["arm"], task_set, metric)) for row in rows]
        if any(one is None for one in found):
            return np.array([[row["tasks"][task_set][metric]] for row in rows])
        return np.stack([one for one in found if one is not None])


def as_json(found: Estimate) -> dict[str, float]:
    """Without bounds where they are unknown, for JSON has no nan."""
    return asdict(found) if found.known else {"mean": found.mean}


def paired(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The rows of both with the same seeds; where there are none, as many of each as both have."""
    left, right = ({row["seed"]: row for row in rows} for rows in (ours, theirs))
    if both := sorted(left.keys() & right.keys()):
        return [left[seed] for seed in both], [right[seed] for seed in both]
    count = min(len(ours), len(theirs))
    return list(ours[:count]), list(theirs[:count])
