"""Readings at equal cost and speed-ups of the world's arms, by hand.

`plain` is read at 500 and 1,000 FLOPs (0.3, 0.5) and takes 10 s; `chosen` at 600 and 1,000 (0.4, 0.7), after
half of the reference's 40 s, and takes 20 s more.
"""

import json

import pytest
from scipy import stats

from winnow.report.compare import table
from winnow.report.compare.groups import grouped
from winnow.report.compare.inputs import timed_curve, val_images
from winnow.report.compare.progress import as_json, progress
from winnow.report.compare.progress_text import at_equal, markdown, sooner, times
from winnow.report.compare.speedup import speedup


def read(world, images=100, **curves):
    rows = table.rows(world.params, world.workspace)
    known = {row["arm"]: timed_curve(world.workspace, row["arm"], row["seconds"]) for row in rows}
    return progress(grouped(rows), known | curves, images)


def test_readings_at_equal_flops_seconds_and_examples(world):
    """By hand. At 10 s `chosen` is at its reference still; sqrt(0.21 / 100 + 0.25 / 100) is 0.0678;
    Student's t of 99 degrees of freedom is 1.984.
    """
    (found,) = read(world)
    flops, seconds, examples = found.equal
    assert (flops.at, seconds.at, examples.at) == (1000, 10, 8)
    assert flops.values["chosen"].mean == pytest.approx(0.7)
    difference = flops.differences["chosen"]
    assert difference.mean == pytest.approx(0.2)
    assert difference.half == pytest.approx(1.984 * 0.0678, abs=2e-4)
    assert seconds.values["chosen"] is None
    assert list(flops.differences) == ["chosen"]  # the control is not compared with itself


def test_a_speedup_in_flops_and_in_seconds(world):
    """By hand. `plain` is best at its end, 0.5, and a standard error of 100 images is 0.05; `chosen` is there
    a third of the way from 600 to 1,000 FLOPs, and from 30 to 40 s.
    """
    (found,) = read(world)
    speeds = found.speedups["chosen"]
    assert speeds["flops"].ratio == pytest.approx(1000 / (600 + 400 / 3))
    assert speeds["seconds"].ratio == pytest.approx(10 / (30 + 10 / 3))
    assert found.gaining is None  # two readings


def test_val_images_are_those_of_the_split(world):
    assert val_images(world.params, world.workspace) == 100


def test_a_missing_split_is_named(world):
    world.workspace.split("held_out", "val").unlink()
    with pytest.raises(ValueError, match=r"held_out/val\.npy.*dvc repro curate"):
        val_images(world.params, world.workspace)


def test_seeds_are_paired(worlds, tmp_path):
    """By hand: 20, 19 and 18 points apart at the end."""
    (found,) = read(worlds(tmp_path, seeds=3), images=None)
    difference = found.equal[0].differences["chosen"]
    assert difference.mean == pytest.approx(0.19)
    assert difference.half == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-3)
    assert found.speedups["chosen"]["flops"].known
    assert "One seed" not in markdown([found])
    written = json.loads(json.dumps(as_json([found]), allow_nan=False))
    first = written["speedups"][0]
    assert (first["arm"], first["control"], first["view"]) == ("chosen", "plain", "flops")
    assert len(first["arm_costs"]) == 3
    late = [one for one in written["at_equal"] if (one["arm"], one["view"]) == ("chosen", "seconds")]
    assert [one["val_top1"] for one in late] == [None]


def test_without_readings_or_a_control_nothing_is_said(world):
    plain = timed_curve(world.workspace, "plain", 10.0)
    assert read(world, plain=[{key: one[key] for key in one if key != "val_top1"} for one in plain]) == []
    assert read(world, plain=[]) == []
    assert markdown([]) == ""


def test_words(world):
    (found,) = read(world)
    sure = "70.0 ± 9.1 %, +20.0 (6.5 to 33.5)"
    assert at_equal(found).rows[1] == ["chosen", sure, "not begun", sure]
    notes = at_equal(found).notes
    assert (
        "At equal FLOPs, chosen, the best policy, is ahead of plain: 20.0 points more (6.5 to 33.5)." in notes
    )
    assert "At equal seconds, chosen has no reading yet: what comes before takes longer." in notes
    (row,) = sooner(found).rows
    assert row[:4] == ["chosen", "50.0 %", "1.00 kFLOPs", "733 FLOPs"]
    assert row[4] == "1.36"
    assert any(note.startswith("One seed: how far") for note in sooner(found).notes)


def test_words_of_a_tie(world):
    (found,) = read(world, images=20)
    assert "are not distinguishable: 20.0 points more (\u2212" in at_equal(found).notes[0]


@pytest.mark.parametrize(
    ("arm", "control", "expected"),
    [
        ([(10.0, 0.5)], [(50.0, 0.1), (100.0, 0.5)], "at least 10.00"),
        ([(10.0, 0.5)], [(50.0, 0.5)], "unknown"),
        ([(10.0, 0.2)], [(50.0, 0.5)], "–"),
    ],
)
def test_ratios_as_people_read_them(arm, control, expected):
    assert times(speedup([arm], [control], [0.0])) == expected


def test_the_images_widen_an_interval_over_seeds(worlds, tmp_path):
    """By hand, of `plain` at its end: seeds 0.50, 0.52, 0.54 have a variance of 0.0004 / 3; 100 images one of
    0.52 x 0.48 / 100. Satterthwaite: their sum squared over the sum of squares over 2 and 99.
    """
    (found,) = read(worlds(tmp_path, seeds=3), images=100)
    parts = (0.0004 / 3, 2), (0.52 * 0.48 / 100, 99)
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / sum(part**2 / of for part, of in parts)
    value = found.equal[0].values["plain"]
    assert value.half == pytest.approx(stats.t.ppf(0.975, freedom) * variance**0.5)
