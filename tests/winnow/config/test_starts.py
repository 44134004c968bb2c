"""Arms that start from weights: which files they read, what cannot work, and the control that is missing."""

from pathlib import Path

import pytest

from winnow.config.compose import composed
from winnow.config.errors import ParamsError
from winnow.config.load import parse
from winnow.config.starts import arm_budget, missing_controls
from winnow.pipeline.workspace import Workspace

NOTHING = "conf/nothing"
HALF = "results/pretrain/supervised-hard"


@pytest.fixture
def raw():
    """The default params, with an arm that starts from another's encoder, which is given half the budget."""
    raw = composed(["+method@methods.simclr=simclr"], Workspace.find().conf)
    raw["backbones"]["started"] = {**raw["backbones"]["resnet10t"], "weights": HALF}
    raw["arms"]["supervised-hard"]["budget_share"] = 0.5
    raw["arms"]["on"] = {"policy": "uniform", "method": "supervised", "backbone": "started"}
    return raw


@pytest.mark.parametrize(
    ("weights", "files"),
    [
        (HALF, (f"{HALF}/model.safetensors", f"{HALF}/config.json", f"{HALF}/metrics.json")),
        (
            f"{HALF}/model.safetensors",
            (f"{HALF}/model.safetensors", f"{HALF}/config.json", f"{HALF}/metrics.json"),
        ),
        (
            "/else/results/pretrain/a",
            tuple(
                f"/else/results/pretrain/a/{n}" for n in ("model.safetensors", "config.json", "metrics.json")
            ),
        ),
        ("/hub/vit", ("/hub/vit/model.safetensors", "/hub/vit/config.json", NOTHING)),
        (
            "/w/resnet18.a1_in1k",
            tuple(f"/w/resnet18.a1_in1k/{n}" for n in ("model.safetensors", "config.json")),
        ),
        ("/w/a.pth", ("/w/a.pth", NOTHING, NOTHING)),
        ("/w/model.safetensors", ("/w/model.safetensors", NOTHING, NOTHING)),
        (
            "/w/open_clip_model.safetensors",
            ("/w/open_clip_model.safetensors", "/w/open_clip_config.json", NOTHING),
        ),
        (None, (NOTHING, NOTHING, NOTHING)),
    ],
)
def test_the_files_of_weights_are_derived_for_dvc(weights, files, raw):
    raw["backbones"]["started"]["weights"] = weights
    dvc = parse(raw).arms["on"].dvc
    assert (dvc.weights, dvc.weights_config, dvc.weights_record) == (*files, NOTHING)[:3]


def test_a_frozen_arm_reads_no_reference(raw):
    raw["arms"]["still"] = {**raw["arms"]["on"], "policy": "learnability", "frozen": True}
    assert parse(raw).arms["still"].dvc.reference == NOTHING


def change(raw, changes):
    for key, value in changes.items():
        node = raw
        *path, last = key.split(".")
        for part in path:
            node = node[part]
        node[last] = value
    return raw


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"backbones.started.weights": "results/pretrain/on"},
            r"backbones\.started\.weights: on <- on is cyclic; let one start from scratch or from a file",
        ),
        (
            {"arms.supervised-hard.backbone": "started", "backbones.started.weights": "results/pretrain/on"},
            r"is cyclic",
        ),
        (
            {"backbones.started.name": "resnet18"},
            r"backbones\.started\.name: resnet18, but its weights are of arm supervised-hard, a resnet10t",
        ),
        (
            {"arms.supervised-hard.budget_share": 1.0},
            r"arms\.on\.budget_share: 1, and it starts from arm supervised-hard, which is charged at 1; give",
        ),
        ({"reference.backbone": "started"}, r"reference\.backbone: resnet10t starts from weights \(results/"),
        (
            {"methods.simclr.layer_decay": 0.7},
            r"methods\.simclr\.layer_decay: 0\.7, but no arm of simclr starts from weights; .* to null",
        ),
        ({"methods.simclr.freeze": 0.1}, r"methods\.simclr\.freeze: 0\.1, but no arm .* or set it to 0\.0"),
        (
            {"methods.supervised.freeze": 1.0},
            r"methods\.supervised\.freeze: 1\.0 is out of range; allowed: \[0, 1\)",
        ),
        ({"methods.supervised.layer_decay": 0.0}, r"layer_decay: 0\.0 is out of range"),
        (
            {"backbones.resnet10t.mean": [0.5, 0.5, 0.5]},
            r"backbones\.resnet10t\.mean: .*weights is null; set it",
        ),
        (
            {"backbones.started.mean": [0.5]},
            r"backbones\.started\.mean: \[0\.5\] is wrong; allowed: three numbers",
        ),
        ({"backbones.started.std": [0.5, 0.5, 0.0]}, r"backbones\.started\.std: .* is out of range"),
    ],
)
def test_what_cannot_work_is_one_line(changes, says, raw):
    with pytest.raises(ParamsError, match=says) as caught:
        parse(change(raw, changes))
    assert "\n" not in str(caught.value)


def test_a_proxy_is_trained_from_scratch(raw):
    policy = {
        "criterion": "hard",
        "filter_ratio": 0.5,
        "scorer": "proxy",
        "proxy": raw["backbones"]["started"],
    }
    with pytest.raises(
        ParamsError, match=r"policies\.p\.proxy: resnet10t starts from weights .* only a learner"
    ):
        parse(change(raw, {"policies.p": policy}))


def test_a_share_of_zero_lets_both_have_the_whole_budget(raw):
    params = parse(change(raw, {"arms.supervised-hard.budget_share": 1.0, "pretrain.weights_share": 0.0}))
    assert arm_budget(params, params.arms["on"]) == params.pretrain.budget
    params = parse(change(raw, {"arms.on.budget_share": 1.5}))
    assert arm_budget(params, params.arms["on"]) == 1.5 * params.pretrain.budget


def test_a_frozen_arm_of_the_same_weights_is_the_control(raw):
    params = parse(raw)
    (hint,) = missing_controls(params)
    assert hint.startswith("arms.on starts from weights, and no arm measures them untouched")
    assert "'+arms.on-frozen={method: supervised, policy: uniform, backbone: started, frozen: true}'" in hint
    raw["arms"]["on-frozen"] = {**raw["arms"]["on"], "frozen": True}
    assert missing_controls(parse(raw)) == []
    del raw["arms"]["on"], raw["arms"]["on-frozen"]
    assert missing_controls(parse(raw)) == []


def test_the_shipped_experiment_has_its_control():
    from winnow.config.compose import composed
    from winnow.config.plugins import CODE

    params = parse(composed(["experiment=continued_pretraining"], Workspace(CODE).conf))
    assert missing_controls(params) == []
    assert Path(params.arms["continued"].dvc.weights) == Path("results/pretrain/half/model.safetensors")


def test_each_seed_starts_from_the_arm_of_its_own_seed():
    from winnow.config.compose import composed
    from winnow.config.plugins import CODE

    params = parse(composed(["experiment=continued_pretraining", "seeds=2"], Workspace(CODE).conf))
    for seed in (0, 1):
        for name in ("continued", "frozen"):
            dvc = params.arms[f"{name}-s{seed}"].dvc
            assert dvc.weights == f"results/pretrain/half-s{seed}/model.safetensors"
    assert params.arms["half-s0"].backbone == "resnet10t"
    assert missing_controls(params) == []
