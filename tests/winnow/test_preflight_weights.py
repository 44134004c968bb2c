"""Weights that are not those of their backbone are refused before anything is spent, from shapes alone."""

import pytest
import timm
import torch
import yaml

from winnow.config.errors import ParamsError
from winnow.config.load import parse
from winnow.pipeline.workspace import Workspace
from winnow.preflight import check_plugins
from winnow.training import initial_weights


@pytest.fixture
def check(tmp_path, monkeypatch):
    """A function: check the default params with an arm that starts from the weights of a timm model."""

    def checked(name, **kwargs):
        torch.save(timm.create_model(name, num_classes=5, **kwargs).state_dict(), tmp_path / "w.pth")
        raw = yaml.safe_load(Workspace.find().params.read_text())
        backbone = {**raw["backbones"]["test_byobnet"], "weights": str(tmp_path / "w.pth")}
        raw["backbones"]["started"] = backbone
        raw["arms"]["on"] = {**raw["arms"]["supervised-uniform-s0"], "backbone": "started"}
        del raw["arms"]["on"]["dvc"]
        real = initial_weights._read

        def shapes_alone(path, device):
            assert device == "meta", "the weights are read, and nothing needs them yet"
            return real(path, device)

        monkeypatch.setattr(initial_weights, "_read", shapes_alone)
        check_plugins(parse(raw))

    return checked


def test_the_right_weights_pass_and_are_not_read(check):
    check("test_byobnet")


@pytest.mark.parametrize(
    ("theirs", "kwargs", "says"),
    [
        ("test_resnet", {}, r"tensors are missing, the first stem\.conv\.weight"),
        ("test_byobnet", {"in_chans": 4}, r"stem\.conv\.weight takes 4 channels, and images here have 3"),
    ],
)
def test_others_are_one_line(theirs, kwargs, says, check):
    with pytest.raises(ParamsError, match=r"^backbones\.started\.weights: .*w\.pth.*: .*" + says) as caught:
        check(theirs, **kwargs)
    assert "\n" not in str(caught.value)


def test_an_encoder_that_this_run_makes_need_not_be_there_yet():
    raw = yaml.safe_load(Workspace.find().params.read_text())
    raw["backbones"]["started"] = {
        **raw["backbones"]["resnet10t"],
        "weights": "results/pretrain/supervised-hard",
    }
    raw["arms"]["supervised-hard"]["budget_share"] = 0.5
    raw["arms"]["on"] = {**raw["arms"]["supervised-uniform-s0"], "backbone": "started"}
    check_plugins(parse(raw))
    raw["backbones"]["started"]["kwargs"] = {"layers": [2, 1, 1, 1]}
    says = r"^backbones\.started\.weights: 'results/.*tensors are missing, the first layer1\.1\."
    with pytest.raises(ParamsError, match=says):
        check_plugins(parse(raw))
