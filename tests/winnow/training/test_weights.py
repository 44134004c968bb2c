"""Encoders on disk are timm's: timm itself loads them; and what is damaged is one line with file and mend."""

import json

import pytest
import timm
import torch

from models import encoders
from models.heads import described
from winnow.config.schema import Backbone
from winnow.training.build import build
from winnow.training.weights import (
    HEADS,
    load_encoder,
    load_projection,
    load_weights,
    save_encoder,
    save_heads,
    save_weights,
)

RESNET = Backbone("test_resnet", 28, {})
VIT = Backbone("vit_tiny_patch16_224", 32, {"img_size": 32, "patch_size": 8, "depth": 2})
AGAIN = r"; make it again with: dvc repro -f pretrain$"


def saved(folder, backbone=RESNET):
    torch.manual_seed(0)
    encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs).eval()
    save_encoder(folder, encoder, backbone)
    return encoder


def truncated(content):
    return content[: len(content) // 2]


@pytest.mark.parametrize("backbone", [RESNET, VIT], ids=lambda b: b.name)
def test_round_trip_and_timm(backbone, tmp_path):
    encoder = saved(tmp_path, backbone)
    ours, size = load_encoder(tmp_path)
    assert size == backbone.image_size
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), encoder(images), rtol=0, atol=0)
        theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
        torch.testing.assert_close(theirs(images), encoder(images), rtol=0, atol=0)


def test_same_weights_same_bytes(tmp_path):
    for name in ("a", "b"):
        saved(tmp_path / name)
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_missing_encoder_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="config.json: no encoder there; make it with: dvc repro pretrain"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    "damage", [truncated, lambda _: b"", lambda _: b"no weights"], ids=["half", "empty", "other"]
)
def test_damaged_weights_are_one_line(damage, tmp_path):
    """Was safetensors' traceback."""
    saved(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"model\.safetensors: no readable weights \(.*\)" + AGAIN) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_weights_are_one_line(tmp_path):
    saved(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ValueError, match=r"model\.safetensors: no readable weights \(.*\)" + AGAIN):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "config.json: not valid JSON"),
        ('{"architecture": "test_res', "config.json: not valid JSON"),
        ("[1, 2]", "config.json: list at the top; it must be a JSON object"),
        ("{}", "config.json: lacks the key 'pretrained_cfg'"),
    ],
)
def test_a_config_that_is_no_config_names_its_file(text, says, tmp_path):
    """Was a line without the file and the mend."""
    saved(tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=says + ".*" + AGAIN) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("architecture", "resnot", "describes no encoder .*'resnot' is no timm model"),
        ("model_args", {"depth": 3}, "describes no encoder"),
        ("model_args", None, "describes no encoder"),
        ("pretrained_cfg", {"input_size": []}, "describes no encoder"),
    ],
)
def test_a_config_of_no_encoder_names_its_file(key, value, says, tmp_path):
    saved(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(ValueError, match=f"config.json: {says}.*{AGAIN}") as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_architecture_are_one_line(tmp_path):
    saved(tmp_path)
    save_weights(encoders.create("test_vit", 32), tmp_path / "model.safetensors")
    with pytest.raises(
        ValueError, match=r"model\.safetensors: weights of another model \(.*\)" + AGAIN
    ) as caught:
        load_encoder(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_need_no_config(tmp_path):
    module, other = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    module(torch.randn(4, 3))
    save_weights(module, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors", "mend it")
    assert torch.equal(other.running_mean, module.running_mean)
    with pytest.raises(ValueError, match=r"w\.safetensors: weights of another model \(.*\); mend it$"):
        load_weights(torch.nn.BatchNorm1d(4), tmp_path / "w.safetensors", "mend it")


@pytest.mark.parametrize("method", ["simclr", "dino"])
def test_a_projection_head_comes_back(method, start, tmp_path):
    objective = build(start.params, method, "test_resnet", 10, 0)
    save_heads(tmp_path, objective)
    ours, theirs = load_projection(tmp_path), objective.projection()
    features = torch.randn(7, encoders.width(objective.exported()))
    assert described(ours) == described(theirs)
    torch.testing.assert_close(ours.eval()(features), theirs.eval()(features), rtol=0, atol=0)


def test_no_projection_head_is_recorded_and_a_damaged_one_is_one_line(start, tmp_path):
    save_heads(tmp_path, build(start.params, "supervised", "test_resnet", 10, 0))
    assert load_projection(tmp_path) is None
    (tmp_path / HEADS).write_bytes(b"no weights")
    with pytest.raises(ValueError, match=f"{HEADS}: no readable projection head .*{AGAIN}"):
        load_projection(tmp_path)
