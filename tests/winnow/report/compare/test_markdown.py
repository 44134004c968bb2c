"""table.md of the world of conftest.py."""

import dataclasses

from winnow.report.compare.markdown import markdown
from winnow.report.compare.table import rows
from winnow.report.compare.wiring import wiring


def cells(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()]


def test_the_best_arm_first_in_columns_that_line_up(world):
    text = markdown(rows(world.params, world.workspace), {"plain": 0.25, "chosen": 0.125})
    head, _, first, second = cells(text)
    assert head[:7] == ["arm", "policy", "method", "linear top-1", "1 % labels", "10 % labels", "box AP50"]
    costs = ["corrupted share", "FLOPs total", "ref + score + train", "CO2e (estimated)", "time"]
    assert head[7:] == costs
    assert first[:7] == ["chosen", "learnability", "supervised", "70.0 %", "40.0 %", "60.0 %", "25.0 %"]
    assert first[7:] == ["12.5 %", "1.00 kFLOPs", "20 + 30 + 50 %", "1.60 g", "40 s"]
    assert second[:7] == ["plain", "uniform", "supervised", "50.0 %", "40.0 %", "60.0 %", "–"]
    assert len({len(line) for line in text.splitlines()}) == 1


def test_a_refined_version_has_a_column_and_its_part_of_the_flops(world):
    table = rows(world.params, world.workspace)
    table[0] |= {"version": "small", "flops": {**table[0]["flops"], "curate": 250, "train": 750}}
    head, _, _, plain = cells(markdown(table, {"plain": 0.0, "chosen": 0.0}))
    assert head[3] == "version"
    assert dict(zip(head, plain, strict=True))["curate + ref + score + train"] == "25 + 0 + 0 + 75 %"


def test_unknown_is_written_as_such(world):
    table = rows(world.params, world.workspace)
    table[0] |= {"gco2e": None, "seconds": None, "energy_quality": "unknown"}
    text = markdown(table, {"plain": 0.0, "chosen": 0.0})
    assert "CO2e (estimated/unknown)" in text
    assert cells(text)[3][-2:] == ["unknown", "unknown"]


def test_what_a_debug_run_made_is_no_result(world):
    table, shares = rows(world.params, world.workspace), {"plain": 0.0, "chosen": 0.0}
    debug = dataclasses.replace(world.params, scale="debug")
    text = markdown(table, shares, wiring(debug))
    assert text.startswith("> **Wiring, not results: scale=debug")
    assert text.endswith("\n\n" + markdown(table, shares, wiring(world.params)))


def test_several_sets_are_named_before_their_metrics_and_a_mean_stands_last(world):
    """Arm `plain` was not measured on birds, so it has no mean."""
    table = rows(world.params, world.workspace)
    table[1]["tasks"]["birds"] = {"linear_probe.top1": 0.5}
    head, _, chosen, plain = cells(markdown(table, {"plain": 0.0, "chosen": 0.0}))
    columns = ["held_out: linear top-1", "birds: linear top-1", "mean of sets: linear top-1"]
    assert [name for name in head if "linear" in name] == columns
    found = {name: dict(zip(head, row, strict=True)) for name, row in (("chosen", chosen), ("plain", plain))}
    assert [found["chosen"][name] for name in columns] == ["70.0 %", "50.0 %", "60.0 %"]
    assert [found["plain"][name] for name in columns] == ["50.0 %", "–", "–"]


def test_the_shares_of_a_mixture_stand_in_the_version_column(world):
    table = rows(world.params, world.workspace)
    table[0] |= {"version": "pool+reference", "mixture": [0.5, 0.5]}
    head, _, _, plain = cells(markdown(table, {"plain": 0.0, "chosen": 0.0}))
    assert dict(zip(head, plain, strict=True))["version"] == "50 % pool + 50 % reference"
