"""Which outcomes are compared with which: seeds and images in pairs, over the world of conftest.py."""

import numpy as np
import pytest

from winnow.evaluation.outcomes import FILE, read_outcomes, write_outcomes
from winnow.evaluation.statistics import estimate
from winnow.report.compare.columns import MAIN, Column
from winnow.report.compare.groups import grouped
from winnow.report.compare.intervals import Intervals, outcomes_of
from winnow.report.compare.table import rows

TOP1 = Column(("held_out",), MAIN, "linear top-1")


@pytest.fixture
def table(world):
    """Rows of two arms with the seeds 0 and 1, and 0, 1 and 2."""
    plain, chosen = rows(world.params, world.workspace)
    return [
        {**row, "arm": f"{row['arm']}-s{seed}", "seed": seed}
        for row, count in ((plain, 2), (chosen, 3))
        for seed in range(count)
    ]


@pytest.fixture
def outcomes():
    draw = np.random.default_rng(0)
    arms = [f"{arm}-s{seed}" for arm in ("plain", "chosen") for seed in range(3)]
    return {(arm, "held_out", MAIN): draw.integers(0, 2, 50).astype(float) for arm in arms}


def test_seeds_that_both_have_are_paired_and_so_are_images(table, outcomes):
    found = Intervals(grouped(table), outcomes).difference("chosen", "plain", TOP1)
    pairs = [
        outcomes[f"chosen-s{s}", "held_out", MAIN] - outcomes[f"plain-s{s}", "held_out", MAIN] for s in (0, 1)
    ]
    assert found == estimate([np.stack(pairs)])
    assert (found.seeds, found.images) == (2, 50)


def test_without_outcomes_the_seeds_alone_tell_the_interval(table):
    for row, top1 in zip(table, (0.5, 0.6, 0.7, 0.9, 0.8), strict=True):
        row["tasks"] = {"held_out": {MAIN: top1}}
    found = Intervals(grouped(table), {}).of("chosen", TOP1)
    assert found == estimate([np.array([[0.7], [0.9], [0.8]])])
    assert found.images == 1


def test_the_mean_of_sets_pairs_within_each_set(table, outcomes):
    for row in table:
        row["tasks"] = {"held_out": {MAIN: 0.5}, "birds": {MAIN: 0.5}}
    birds = {(arm, "birds", MAIN): 1 - hits[:20] for (arm, _, _), hits in outcomes.items()}
    found = Intervals(grouped(table), outcomes | birds).of("plain", Column(("held_out", "birds"), MAIN, ""))
    sets = [
        np.stack([some[f"plain-s{s}", name, MAIN] for s in (0, 1)])
        for some, name in ((outcomes, "held_out"), (birds, "birds"))
    ]
    assert found == estimate(sets)


def test_what_was_not_measured_has_no_interval(table, outcomes):
    del table[0]["tasks"]["held_out"][MAIN]
    intervals = Intervals(grouped(table), outcomes)
    assert intervals.of("plain", TOP1) is None
    assert intervals.difference("chosen", "plain", TOP1) is None


def test_noise_is_the_largest_difference_between_seeds(table):
    for row, top1 in zip(table, (0.5, 0.6, 0.7, 0.9, 0.8), strict=True):
        row["tasks"] = {"held_out": {MAIN: top1}}
    intervals = Intervals(grouped(table), {})
    assert intervals.noise("chosen", TOP1) == pytest.approx(0.2)
    assert Intervals(grouped(table[:1]), {}).noise("plain-s0", TOP1) is None
    # chosen's 0.7, 0.9, 0.8 are all above plain's 0.5, 0.6
    assert intervals.improvement("chosen", "plain", TOP1) == 1


def test_outcomes_are_read_as_they_were_written(tmp_path):
    write_outcomes(tmp_path / FILE, ["a", "b"], {"top1": np.array([True, False])})
    uids, values = read_outcomes(tmp_path / FILE)
    assert uids == ["a", "b"]
    assert values["top1"].tolist() == [1.0, 0.0]


def test_arms_that_were_measured_on_other_images_are_not_compared(world):
    for arm, uids in (("plain", ["a", "b"]), ("chosen", ["a", "c"])):
        folder = world.workspace.root / f"results/tasks/linear_probe/{arm}/held_out"
        write_outcomes(folder / FILE, uids, {"top1": np.array([1, 0])})
    with pytest.raises(ValueError, match=r"other test images than those of arm plain; run: dvc repro linear"):
        outcomes_of(world.params, world.workspace)
