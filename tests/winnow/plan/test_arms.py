"""The steps that a plan promises are those that a real build gets."""

import dataclasses
import json
import shutil
from dataclasses import replace

import pytest
import yaml

from tests.loops import BATCH
from winnow.config.load import parse
from winnow.config.plugins import CODE
from winnow.pipeline.workspace import Workspace
from winnow.plan.amount import EXACT, LEAST, MOST, UNKNOWN, Amount
from winnow.plan.arms import Arms
from winnow.plan.known import Known
from winnow.plan.step import backbone_forward
from winnow.pool import uids as uid_files
from winnow.selection.build import build_selection
from winnow.selection.reference_record import Record, write_record
from winnow.selection.train_reference import judge, train_reference
from winnow.training.build import build, open_for
from winnow.training.device import launch
from winnow.versions.flops import CurationFlops

BUDGET = 2e11


@pytest.fixture
def made(digits_params, digits_pool, tmp_path):
    """The params of four arms, and a workspace in which curate is done: 300 images and 60 trusted ones."""
    plain = dataclasses.asdict(digits_params)
    plain["pretrain"]["budget"] = BUDGET
    plain["reference"] |= {"methods": ["supervised"], "examples": 2 * BATCH}
    plain["methods"]["supervised"]["batch_size"] = BATCH
    params, workspace = parse(plain), Workspace(tmp_path)
    shutil.copy(CODE / "dvc.yaml", tmp_path)
    workspace.params.write_text(yaml.safe_dump(dataclasses.asdict(params)))
    folder = workspace.dataset("pool", "digits")
    folder.parent.mkdir(parents=True)
    folder.symlink_to(digits_pool.folder)
    rows = [row for row, name in enumerate(digits_pool.table["split"].to_pylist()) if name == "train"]
    uids = sorted({digits_pool.index.uid(row) for row in rows[:300]})
    for name, some in (("pool", uids), ("reference", uids[:60])):
        workspace.version(name).mkdir(parents=True)
        uid_files.save(workspace.uids(name), some)
        CurationFlops().write(workspace.version(name))
    return params, workspace


def opened(params, pool, workspace, backbone, version="pool"):
    return open_for(params, "supervised", backbone, pool, uid_files.load(workspace.uids(version)))


@pytest.mark.slow
def test_a_plan_is_what_a_run_records(made, digits_pool):
    """The reference is trained and applied, and every arm is built; nothing is left to an estimate."""
    params, workspace = made
    fabric, small = launch(params.run), str(params.reference.backbone)
    trusted = opened(params, digits_pool, workspace, small, "reference")
    data = opened(params, digits_pool, workspace, small)
    loop, trained = train_reference(params, fabric, "supervised", trusted)
    judged, scored = judge(params, fabric, loop.objective, data, "supervised")
    record = Record.of(params, "supervised", data.classes, {"train": trained, "score": scored})
    write_record(workspace.reference("supervised"), record, loop.objective, data.uids, judged)
    arms = Arms(params, workspace, Known(params, workspace))
    assert arms.curation.reference("supervised").spent(False) == Amount(trained + scored)
    assert any(arms.plan(name).reference.value for name in params.arms)
    for name, arm in params.arms.items():
        if arm.version != "pool":
            continue
        learner = opened(params, digits_pool, workspace, arm.backbone)
        objective = build(params, arm.method, arm.backbone, learner.classes, 0)
        chosen = build_selection(params, arm, workspace, fabric, objective, learner)
        planned = arms.plan(name)
        assert (planned.step, planned.steps) == (chosen.step, Amount(chosen.steps)), name
        spent = chosen.flops(chosen.steps)
        parts = (planned.curate, planned.reference, planned.score, planned.train, planned.total)
        names = ("curate", "reference", "score", "train", "total")
        assert [part.value for part in parts] == [spent[one] for one in names]


@pytest.mark.slow
def test_on_a_fresh_clone_steps_are_bounded_by_what_is_not_known(digits_params, tmp_path):
    """Without the pool's size, what its losses cost is left out; a bound on it leaves the fewest steps."""
    plain = dataclasses.asdict(digits_params)
    fresh = Workspace(tmp_path)
    plain["datasets"]["pool"]["digits"]["limit"] = None
    signs = {}
    for images in (None, 10_000):
        params = parse(plain)
        arms = Arms(params, fresh, Known(params, fresh, images))
        signs[images] = {name: arms.plan(name).steps.sign for name in params.arms}
    uses = {name: arm.policy in ("easy", "learnability") for name, arm in digits_params.arms.items()}
    assert signs[None] == {name: MOST if used else EXACT for name, used in uses.items()}
    assert set(signs[10_000].values()) == {EXACT}
    limited = Arms(digits_params, fresh, Known(digits_params, fresh))
    assert limited.plan("supervised-easy").steps.sign == LEAST


def test_a_budget_that_buys_no_step_is_a_problem_of_that_arm_alone(digits_params, tmp_path):
    workspace = Workspace(tmp_path)
    arms = {**digits_params.arms}
    arms["supervised-hard"] = replace(arms["supervised-hard"], budget_share=1e-9)
    params = replace(digits_params, arms=arms)
    plans = Arms(params, workspace, Known(params, workspace))
    assert plans.plan("supervised-hard").steps == Amount(0)
    assert "give at least" in str(plans.plan("supervised-hard").problem)
    assert plans.plan("supervised-uniform").problem is None


def test_weights_of_another_arm_are_paid_for(digits_params, tmp_path):
    """At half a share, half of all that was charged to the arm that trained them."""
    plain = dataclasses.asdict(digits_params)
    first = plain["arms"]["supervised-uniform"]
    backbone = plain["backbones"][first["backbone"]]
    plain["backbones"]["further"] = {**backbone, "weights": "results/pretrain/supervised-uniform"}
    plain["arms"]["further"] = {**first, "backbone": "further"}
    plain["pretrain"]["weights_share"] = 0.5
    params = parse(plain)
    arms = Arms(params, Workspace(tmp_path), Known(params, Workspace(tmp_path)))
    paid = arms.plan("supervised-uniform").total
    assert arms.plan("further").weights == Amount(int(0.5 * paid.value))
    assert arms.plan("further").steps.value < arms.plan("supervised-uniform").steps.value


@pytest.mark.slow
def test_a_refined_version_pays_for_its_embeddings_and_the_reference_that_made_them(digits_params, tmp_path):
    """At most one embedding of each image of the pool; a reference that also chooses is paid for once."""
    plain = dataclasses.asdict(digits_params)
    model = "results/reference/models/supervised"
    plain["versions"] = {"fewer": {"model": model, "filters": {"semantic_duplicate": {}}}}
    for name in ("supervised-easy", "supervised-uniform"):
        plain["arms"][name]["version"] = "fewer"
    params, workspace = parse(plain), Workspace(tmp_path)
    arms = Arms(params, workspace, Known(params, workspace, 1000))
    embeddings = arms.curation.embeddings("fewer")
    reference = arms.curation.reference("supervised")
    small = params.backbones[str(params.reference.backbone)]
    assert embeddings == Amount(1000 * backbone_forward(small), MOST)
    uniform, easy = arms.plan("supervised-uniform"), arms.plan("supervised-easy")
    assert uniform.curate == easy.curate == reference.train + embeddings
    assert (uniform.reference, easy.reference) == (Amount(0), reference.score)


def test_weights_of_an_arm_elsewhere_without_its_record_are_unknown(digits_params, tmp_path):
    params = parse(dataclasses.asdict(digits_params))
    arm = replace(params.arms["supervised-uniform"])
    arm.dvc = replace(arm.dvc, weights="a/model.safetensors", weights_record="a/metrics.json")
    params.arms["supervised-uniform"] = arm
    arms = Arms(params, Workspace(tmp_path), Known(params, Workspace(tmp_path)))
    assert arms.plan("supervised-uniform").weights == UNKNOWN


@pytest.mark.slow
def test_a_finished_reference_is_charged_as_where_it_was_trained(digits_params, tmp_path):
    """Its training is read from its record; its losses of the pool are computed here."""
    workspace = Workspace(tmp_path)
    plain = dataclasses.asdict(digits_params)
    plain["reference"] |= {"methods": ["supervised"], "finished": "elsewhere"}
    params = parse(plain)
    record = Record.of(params, "supervised", 10, {"train": 12345, "score": 1})
    (tmp_path / "elsewhere/supervised").mkdir(parents=True)
    (tmp_path / "elsewhere/supervised/reference.json").write_text(json.dumps(dataclasses.asdict(record)))
    arms = Arms(params, workspace, Known(params, workspace, 1000))
    reference = arms.curation.reference("supervised")
    assert reference.train == Amount(12345)
    assert arms.plan("supervised-easy").reference == Amount(12345) + reference.score
    here = Arms(digits_params, workspace, Known(digits_params, workspace, 1000))
    assert here.curation.reference("supervised").score == reference.score
