"""The rows of table.json. Expected values are worked out by hand from the numbers in conftest.py."""

import json
import shutil

import pytest

from winnow.report.compare import columns, table

# The public contract of table.json, from DESIGN.md.
KEYS = (
    "arm policy method backbone version mixture seed flops kwh gco2e energy_quality seconds examples_seen "
    "tasks budget stopped_by"
)


def rows(world):
    return table.rows(world.params, world.workspace)


def test_row_has_exactly_the_keys_of_the_contract(world):
    for row in rows(world):
        assert sorted(row) == sorted(KEYS.split())
        assert sorted(row["flops"]) == sorted(("curate", "reference", "score", "train", "total"))
        assert row["energy_quality"] in ("counter", "estimated", "unknown")
        json.dumps(row, allow_nan=False)


def test_rows_have_what_pretraining_recorded(world):
    plain, chosen = rows(world)
    assert (plain["arm"], chosen["arm"]) == ("plain", "chosen")
    assert plain["flops"] == {"curate": 0, "reference": 0, "score": 0, "train": 1000, "total": 1000}
    assert chosen["flops"] == {"curate": 0, "reference": 200, "score": 300, "train": 500, "total": 1000}
    assert (plain["budget"], plain["stopped_by"], plain["examples_seen"]) == (1000.0, "budget", 8)


def test_curation_is_part_of_the_total(world):
    metrics = world.read("results/pretrain/plain/metrics.json")
    metrics["flops"]["curate"] = 25
    world.write("results/pretrain/plain/metrics.json", metrics)
    assert rows(world)[0]["flops"]["total"] == 1025


def test_tasks_hold_numbers_only(world):
    assert rows(world)[0]["tasks"] == {
        "held_out": {
            "linear_probe.top1": 0.5,
            "linear_probe.top5": 0.9,
            "pretrain.val_top1": 0.5,
            "linear_probe.l2": 0.01,
            "semi_supervised.top1_1pct": 0.4,
            "semi_supervised.top1_10pct": 0.6,
        }
    }  # detection.box_ap50 is null: undefined, not 0


def test_protocols_are_kept_beside_the_arms(world):
    protocols = table.protocols(world.params, world.workspace)
    assert protocols["linear_probe"] == {"a <linear> protocol": ["plain", "chosen"]}


def test_arms_left_over_on_disk_are_not_seen(world):
    before = rows(world)
    for stage in ("pretrain", "tasks/linear_probe", "tasks/semi_supervised", "tasks/detection"):
        folder = world.workspace.root / "results" / stage
        shutil.copytree(folder / "plain", folder / "ghost")
    assert rows(world) == before


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("results/pretrain/chosen/metrics.json", "dvc repro pretrain@chosen"),
        ("results/tasks/detection/plain/held_out/metrics.json", "dvc repro detection@plain.held_out"),
        ("results/reference/cost.json", "dvc repro reference"),
    ],
)
def test_a_missing_file_is_named_with_the_command_that_makes_it(world, name, command):
    (world.workspace.root / name).unlink()
    with pytest.raises(ValueError, match=f"{name}.*{command}"):
        rows(world)


def test_a_broken_file_is_named(world):
    (world.workspace.root / "results/pretrain/plain/metrics.json").write_text("{")
    with pytest.raises(ValueError, match=r"plain/metrics.json: not valid JSON.*dvc repro"):
        rows(world)


def test_ranked_keeps_the_order_of_methods_and_puts_the_best_first():
    arms = [("a", "z", 0.1), ("b", "b", 0.9), ("c", "z", 0.2)]
    rows = [{"arm": a, "method": m, "tasks": {"set": {columns.MAIN: top1}}} for a, m, top1 in arms]
    found = table.ranked(rows)
    assert [row["arm"] for row in found] == ["c", "a", "b"]


def test_headlines_are_in_a_fixed_order(world):
    assert {one.metric: one.title for one in columns.headlines(rows(world))} == {
        "linear_probe.top1": "linear top-1",
        "semi_supervised.top1_1pct": "1 % labels",
        "semi_supervised.top1_10pct": "10 % labels",
        "detection.box_ap50": "box AP50",
    }


def test_retrieval_and_zero_shot_have_columns_where_an_arm_was_measured_so(world):
    """What pretraining read of its val split has none; nor has an arm without a text tower, and not 0."""
    path = "results/pretrain/chosen/metrics.json"
    world.write(path, {**world.read(path), "i2t_r1": 0.1, "zero_shot_top1": 0.2})
    plain, chosen = rows(world)
    assert chosen["tasks"]["held_out"]["pretrain.i2t_r1"] == 0.1
    more = {"retrieval.i2t_r1": 0.25, "retrieval.t2i_r1": 0.125, "zero_shot.top1": 0.75}
    chosen["tasks"]["held_out"] |= {**more, "retrieval.i2t_r5": 0.5, "robustness.mean_top1": 0.3}
    found = columns.headlines([plain, chosen])
    assert [one.title for one in found[:3]] == ["image to text R@1", "text to image R@1", "zero-shot"]
    assert [one.value(chosen) for one in found[:3]] == list(more.values())
    assert [one.value(plain) for one in found[:3]] == [None] * 3
    assert found[-1].title == "corrupted top-1"


@pytest.mark.parametrize(
    ("changes", "name", "control", "oracle"),
    [
        ({}, "uniform", True, False),
        ({"version": "reference"}, "reference", True, False),
        ({"version": "pool+reference"}, "pool + reference", True, False),
        (
            {"version": "pool+reference", "mixture": [0.25, 0.75]},
            "25 % pool + 75 % reference",
            True,
            False,
        ),
        ({"policy": "hard"}, "hard", False, False),
        ({"policy": "hard", "version": "pool+reference"}, "hard on pool + reference", False, False),
        (
            {
                "policy": "easy",
                "version": "pool+reference",
                "mixture": [0.75, 0.25],
                "selects_from": "pool",
            },
            "easy, with 25 % reference",
            False,
            False,
        ),
        ({"version": "small"}, "small", False, False),
        ({"version": "small+reference"}, "small + reference", False, False),
        ({"version": "clean"}, "clean", False, True),
        ({"version": "clean+reference"}, "clean + reference", False, True),
        ({"policy": "hard", "version": "clean"}, "hard on clean", False, True),
        ({"frozen": True}, "random encoder", False, False),
        ({"frozen": True, "backbone": "pixels"}, "raw pixels", False, False),
        ({"frozen": True, "weights": {"path": "vit.pth"}}, "the weights untouched", False, False),
    ],
)
def test_what_an_arm_chose_in_a_word_and_whether_that_is_a_control(changes, name, control, oracle):
    row = {"policy": "uniform", "version": "pool", "mixture": None, **changes}
    assert (table.choice(row), table.is_control(row), table.is_oracle(row)) == (name, control, oracle)
