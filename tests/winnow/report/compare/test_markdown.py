"""table.md of the world of conftest.py."""

import dataclasses
import re

from winnow.report.compare.groups import grouped
from winnow.report.compare.intervals import Intervals
from winnow.report.compare.markdown import markdown
from winnow.report.compare.table import rows
from winnow.report.compare.wiring import wiring


def written(judge, table, corrupted, note=None) -> str:
    """table.md of rows without outcomes, so without intervals."""
    groups = grouped(table)
    return markdown(groups, corrupted, Intervals(groups, {}), note)


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_best_arm_first_in_columns_that_line_up(world, judge):
    text = written(judge, rows(world.params, world.workspace), {"plain": 0.25, "chosen": 0.125})
    head, _, first, second = cells(text)
    assert head[:7] == ["arm", "policy", "method", "linear top-1", "1 % labels", "10 % labels", "box AP50"]
    costs = ["corrupted share", "FLOPs total", "ref + score + train", "CO2e (estimated)", "time"]
    assert head[7:] == ["against the best control", *costs]
    assert first[:7] == ["chosen", "learnability", "supervised", "70.0 %", "40.0 %", "60.0 %", "25.0 %"]
    assert first[7:] == ["+20.0", "12.5 %", "1.00 kFLOPs", "20 + 30 + 50 %", "1.60 g", "40 s"]
    assert second[:7] == ["plain", "uniform", "supervised", "50.0 %", "40.0 %", "60.0 %", "–"]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_a_refined_version_has_a_column_and_its_part_of_the_flops(world, judge):
    table = rows(world.params, world.workspace)
    table[0] |= {"version": "small", "flops": {**table[0]["flops"], "curate": 250, "train": 750}}
    head, _, _, plain = cells(written(judge, table, {"plain": 0.0, "chosen": 0.0}))
    assert head[3] == "version"
    assert dict(zip(head, plain, strict=True))["curate + ref + score + train"] == "25 + 0 + 0 + 75 %"


def test_unknown_is_written_as_such(world, judge):
    table = rows(world.params, world.workspace)
    table[0] |= {"gco2e": None, "seconds": None, "energy_quality": "unknown"}
    text = written(judge, table, {"plain": 0.0, "chosen": 0.0})
    assert "CO2e (estimated/unknown)" in text
    assert cells(text)[3][-2:] == ["unknown", "unknown"]


def test_what_a_debug_run_made_is_no_result(world, judge):
    table, shares = rows(world.params, world.workspace), {"plain": 0.0, "chosen": 0.0}
    debug = dataclasses.replace(world.params, scale="debug")
    text = written(judge, table, shares, wiring(debug))
    assert text.startswith("> **Wiring, not results: scale=debug")
    assert text.endswith("\n\n" + written(judge, table, shares, wiring(world.params)))


def test_several_sets_are_named_before_their_metrics_and_a_mean_stands_last(world, judge):
    """Arm `plain` was not measured on birds, so it has no mean."""
    table = rows(world.params, world.workspace)
    table[1]["tasks"]["birds"] = {"linear_probe.top1": 0.5}
    head, _, chosen, plain = cells(written(judge, table, {"plain": 0.0, "chosen": 0.0}))
    columns = ["held_out: linear top-1", "birds: linear top-1", "mean of sets: linear top-1"]
    assert [name for name in head if "linear" in name] == columns
    found = {name: dict(zip(head, row, strict=True)) for name, row in (("chosen", chosen), ("plain", plain))}
    assert [found["chosen"][name] for name in columns] == ["70.0 %", "50.0 %", "60.0 %"]
    assert [found["plain"][name] for name in columns] == ["50.0 %", "–", "–"]


def test_the_shares_of_a_mixture_stand_in_the_version_column(world, judge):
    table = rows(world.params, world.workspace)
    table[0] |= {"version": "pool+reference", "mixture": [0.5, 0.5]}
    head, _, _, plain = cells(written(judge, table, {"plain": 0.0, "chosen": 0.0}))
    assert dict(zip(head, plain, strict=True))["version"] == "50 % pool + 50 % reference"


def test_seeds_are_one_line_with_their_number_and_intervals(world, judge):
    """Two arms of two seeds; means by hand."""
    plain, chosen = rows(world.params, world.workspace)
    seeds = [
        {
            **row,
            "arm": f"{row['arm']}-s{seed}",
            "seed": seed,
            "tasks": {"held_out": {"linear_probe.top1": top1}},
        }
        for row, top1s in ((plain, (0.5, 0.52)), (chosen, (0.7, 0.68)))
        for seed, top1 in enumerate(top1s)
    ]
    groups, intervals = judge(seeds)
    text = markdown(groups, {"plain": 0.0, "chosen": 0.0}, intervals)
    head, _, first, second = cells(text)[:4]
    first, second = (dict(zip(head, row, strict=True)) for row in (first, second))
    assert [row["arm"] for row in (first, second)] == ["chosen", "plain"]
    assert [row["seeds"] for row in (first, second)] == ["2", "2"]
    assert re.fullmatch(r"69\.0 ± \d+\.\d %", first["linear top-1"])
    assert re.fullmatch(r"\+18\.0 \(\S+ to \S+\)", first["against the best control"])
    assert second["against the best control"] == "best control"
    assert "± and brackets: 95 % intervals over seeds and test images, in percentage points." in text
