"""Seeds of one choice become one row, over the world of conftest.py."""

import numpy as np
import pytest

from winnow.report.compare.groups import grouped, mean_arrays, mean_curves, mean_shares
from winnow.report.compare.table import rows


@pytest.fixture
def seeds(world):
    """A function: the first row with these seeds, and what differs in each."""
    plain = rows(world.params, world.workspace)[0]

    def of(*changes, **same):
        return [
            {**plain, "arm": f"plain-s{seed}", "seed": seed, **same, **change}
            for seed, change in enumerate(changes)
        ]

    return of


def test_an_arm_alone_is_its_own_row(world):
    table = rows(world.params, world.workspace)
    assert [group.row for group in grouped(table)] == table
    assert [group.name for group in grouped(table)] == ["plain", "chosen"]


def test_seeds_of_one_choice_are_their_mean(seeds):
    """By hand; energy that is unknown of one seed is unknown of their mean."""
    first = {"seconds": 10.0, "kwh": 0.1, "examples_seen": 8, "energy_quality": "counter"}
    second = {"seconds": 20.0, "kwh": None, "examples_seen": 9, "energy_quality": "unknown"}
    first["tasks"] = {
        "a": {"linear_probe.top1": 0.5, "linear_probe.top5": 0.9},
        "b": {"linear_probe.top1": 0.1},
    }
    second["tasks"] = {"a": {"linear_probe.top1": 0.7}}
    (group,) = grouped(seeds(first, second))
    assert (group.name, group.arms) == ("plain", ["plain-s0", "plain-s1"])
    row = group.row
    assert (row["seconds"], row["kwh"], row["examples_seen"], row["energy_quality"]) == (
        15.0,
        None,
        8,
        "unknown",
    )
    assert row["tasks"] == {"a": {"linear_probe.top1": 0.6}}


def test_other_versions_methods_backbones_budgets_are_other_groups(seeds):
    changes = {"version": "small"}, {"method": "simclr"}, {"backbone": "large"}, {"budget": 1.0}
    assert len(grouped(seeds({}, *changes))) == 5


def test_two_arms_of_one_seed_are_not_seeds_of_each_other(seeds):
    """Something that the table does not show tells them apart, such as the reference of another method."""
    table = seeds({}, {}) + [{**row, "arm": f"other-s{row['seed']}"} for row in seeds({}, {})]
    assert [(group.name, len(group.rows)) for group in grouped(table)] == [("plain", 2), ("other", 2)]


def test_what_pictures_show_is_the_mean_too(seeds):
    groups = grouped(seeds({}, {}))
    curves = {
        "plain-s0": [{"flops": 1.0, "val_top1": 0.2}, {"flops": 2.0, "val_top1": 0.4}, {"flops": 3.0}],
        "plain-s1": [{"flops": 1.0, "val_top1": 0.4}, {"flops": 2.0, "val_top1": 0.8}],
    }
    found = mean_curves(groups, curves)["plain"]
    assert [reading["flops"] for reading in found] == [1.0, 2.0]
    assert [reading["val_top1"] for reading in found] == pytest.approx([0.3, 0.6])
    shares = mean_shares(groups, {"plain-s0": {"noise": 0.2}, "plain-s1": {"noise": 0.4}})
    assert shares["plain"]["noise"] == pytest.approx(0.3)
    arrays = {"plain-s0": np.array([1.0, 2.0]), "plain-s1": np.array([3.0, 4.0])}
    assert mean_arrays(groups, arrays)["plain"].tolist() == [2.0, 3.0]
    arrays["plain-s1"] = np.array([3.0])
    assert mean_arrays(groups, arrays)["plain"].tolist() == [1.0, 2.0]
