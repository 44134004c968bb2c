"""What arms were set to differently, and the commands that repeat them."""

import dataclasses

from winnow.pipeline.stages import Stages
from winnow.report.compare import table
from winnow.report.compare.differences import differences
from winnow.report.compare.groups import grouped


def read(world):
    rows = table.rows(world.params, world.workspace)
    return differences(world.params, grouped(rows), Stages.read(world.workspace.root))


def test_only_keys_that_differ_with_those_of_the_policies(world):
    found = read(world)
    assert found.arms == ["plain", "chosen"]
    assert dict(found.rows) == {
        "policy": ["uniform", "learnability"],
        "policy.criterion": ["uniform", "learnability"],
        "policy.filter_ratio": ["0", "0.5"],
    }


def test_keys_of_methods_that_one_arm_alone_has(world):
    """Nothing that is derived is shown, though it differs."""
    arms = world.params.arms
    world.params.methods["other"] = {"momentum": 0.9}
    arms["chosen"] = dataclasses.replace(arms["plain"], method="other")
    rows = dict(read(world).rows)
    assert rows["method.momentum"] == ["–", "0.9"]
    assert not any("dvc" in key for key in rows)


def test_seeds_are_listed_and_are_made_by_one_command(worlds, tmp_path):
    found = read(worlds(tmp_path, seeds=2))
    assert "seed" not in dict(found.rows)  # 0, 1 of both
    assert found.commands["plain"].startswith("dvc repro pretrain@plain-s0 linear_probe@plain-s0.held_out")
    assert "pretrain@plain-s1" in found.commands["plain"]
    assert "chosen" not in found.commands["plain"]
