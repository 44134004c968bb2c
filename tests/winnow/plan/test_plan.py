"""The plan of an experiment: a row for every stage, times where they are known, and nothing made up."""

import dataclasses
import shutil
from dataclasses import replace

import pytest
import yaml

from winnow.config.load import parse
from winnow.config.plugins import CODE
from winnow.pipeline.stages import Stages
from winnow.pipeline.timings import Timings
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import MOST, NONE, Amount
from winnow.plan.plan import COUNTED, MEASURED, NOWHERE, plan
from winnow.plan.rates import Rates
from winnow.plan.step import backbone_forward
from winnow.plan.text import plan_lines, si

RATES = Rates(1e9, 36.0, 2.0, 500.0)  # 1 s a GFLOP, 0.02 Wh a second


@pytest.fixture
def fresh(digits_params, tmp_path, monkeypatch):
    """A clone in which nothing has run."""
    monkeypatch.setenv("WINNOW_EXECUTION", "test")
    shutil.copy(CODE / "dvc.yaml", tmp_path)
    workspace = Workspace(tmp_path)
    workspace.params.write_text(yaml.safe_dump(dataclasses.asdict(digits_params)))
    return workspace


def rows(*arguments, **options):
    return {row.stage: row for row in plan(*arguments, **options).rows}


@pytest.mark.slow
def test_every_stage_has_a_row_and_no_file_is_written(fresh, digits_params):
    before = sorted(fresh.root.rglob("*"))
    assert list(rows(digits_params, fresh, RATES)) == list(Stages.read(fresh.root).entries)
    assert sorted(fresh.root.rglob("*")) == before


@pytest.mark.slow
def test_on_a_fresh_clone_time_is_from_flops_or_unknown(fresh, digits_params):
    found = rows(digits_params, fresh, RATES)
    for stage, row in found.items():
        assert row.basis == (COUNTED if row.flops.value else NOWHERE), stage
        assert row.seconds == (pytest.approx(row.flops.value / 1e9) if row.flops.value else None)
    without = ("plugins", "ingest@digits", "curate", "datasheet@pool", "compare")
    assert {found[stage].basis for stage in without} == {NOWHERE}


@pytest.mark.slow
def test_what_was_measured_on_this_machine_comes_first(fresh, digits_params):
    """Unless another machine is named; a bound on FLOPs is no bound on a time that was measured."""
    Timings(fresh, digits_params).done("pretrain@supervised-easy", 3.0)
    expected = Timings(fresh, digits_params).expected("pretrain@supervised-easy")
    row = rows(digits_params, fresh, RATES)["pretrain@supervised-easy"]
    assert (row.seconds, row.basis, row.sign) == (expected, MEASURED, "")
    other = rows(digits_params, fresh, RATES, measured=False)["pretrain@supervised-easy"]
    assert other.basis == COUNTED


@pytest.mark.slow
def test_what_measures_encoders_is_counted_by_hand(fresh, digits_params):
    """linear_probe: a forward of every image of its splits; at most 125 forwards and gradients of each of
    three classifiers in 100 iterations of L-BFGS, axes and their products, logits, and kNN. Readings: 2 of
    bank and val, and of val by the classifier, of 10 classes on 512 features.
    """
    found, splits = rows(digits_params, fresh, RATES), digits_params.datasets.tasks["held_out"].splits
    backbone = digits_params.backbones[digits_params.arms["supervised-uniform"].backbone]
    forward = backbone_forward(backbone)
    probe = found["linear_probe@supervised-uniform.held_out"]
    images = (splits.probe + splits.val + splits.test) * forward
    fits = splits.probe * (2 * 2 * 512**2 + 3 * 125 * 2 * 2 * 512 * 10)
    read = 2 * 512 * 10 * (3 * splits.val + splits.test) + 2 * splits.test * splits.probe * 512
    assert probe.evaluate == Amount(images + fits + read, MOST)
    times, bank = digits_params.pretrain.evaluations, min(1000, splits.probe)
    read = found["pretrain@supervised-uniform"].evaluate
    logits = forward + 2 * 512 * 10
    assert read == Amount(times * ((bank + splits.val) * forward + splits.val * logits))


@pytest.mark.slow
def test_without_references_the_stage_trains_nothing(fresh, digits_params):
    assert rows(digits_params, fresh, RATES)["reference"].train.value > 0
    none = replace(digits_params.reference, methods=[])
    params = parse(dataclasses.asdict(replace(digits_params, reference=none, arms={})))
    fresh.params.write_text(yaml.safe_dump(dataclasses.asdict(params)))
    empty = rows(params, fresh, RATES)["reference"]
    assert (empty.flops, empty.steps, empty.basis) == (NONE, None, NOWHERE)


@pytest.mark.slow
def test_the_page_says_what_is_unknown_and_what_is_assumed(fresh, digits_params):
    text = "\n".join(plan_lines(plan(digits_params, fresh, RATES), RATES, [("power", "36 W (a test)")]))
    assert "power  36 W (a test)" in text
    assert "the pool version holds at most" in text
    assert "10 classes are assumed" in text
    plain = dataclasses.asdict(digits_params)
    plain["datasets"]["pool"]["digits"]["limit"] = None
    unlimited = plan(parse(plain), fresh, RATES)
    assert any("its number of images is unknown" in note for note in unlimited.notes)
    given = plan(parse(plain), fresh, RATES, images=4000)
    assert "the pool version is taken to hold 4,000 images (--images)" in given.notes


@pytest.mark.slow
def test_a_row_shows_its_steps_energy_and_carbon(fresh, digits_params):
    """kWh = s x 36 W x 2 / 3.6e6 and gCO2e = 500 x kWh."""
    planned = plan(digits_params, fresh, RATES)
    row = next(row for row in planned.rows if row.stage == "pretrain@supervised-uniform")
    line = next(one for one in plan_lines(planned, RATES, []) if row.stage in one)
    kwh = row.seconds * 2e-5
    assert line.split()[1] == f"{row.steps.value:,}"
    assert line.split()[-3:] == [COUNTED, f"{kwh:.3g}", f"{500 * kwh:.3g}"]


@pytest.mark.slow
def test_an_arm_that_its_budget_buys_no_step_is_told(fresh, digits_params):
    arms = {**digits_params.arms}
    arms["supervised-hard"] = replace(arms["supervised-hard"], budget_share=1e-9)
    planned = plan(replace(digits_params, arms=arms), fresh, RATES)
    assert [line.partition(":")[0] for line in planned.problems] == ["pretrain@supervised-hard"]


@pytest.mark.slow
def test_a_pool_of_at_most_so_many_images_bounds_the_reference(fresh, digits_params):
    row = rows(digits_params, fresh, RATES)["reference"]
    assert (row.score.sign, row.train.sign, row.sign) == (MOST, "", MOST)


@pytest.mark.parametrize(
    ("flops", "expected"), [(0, "0"), (12, "12"), (3.99e12, "3.99 T"), (4.056e19, "40.6 E"), (1e9, "1 G")]
)
def test_flops_have_three_digits_and_a_prefix(flops, expected):
    assert si(flops) == expected
