"""Encoders on disk are timm's: timm itself loads them."""

import pytest
import timm
import torch

from models import encoders
from stages.params import Backbone
from stages.training.weights import load_encoder, save_encoder

VIT = Backbone("vit_tiny_patch16_224", 32, {"img_size": 32, "patch_size": 8, "depth": 2})


@pytest.mark.parametrize("backbone", [Backbone("test_resnet", 28, {}), VIT], ids=lambda b: b.name)
def test_round_trip_and_timm(backbone, tmp_path):
    torch.manual_seed(0)
    encoder = encoders.create(backbone.name, backbone.image_size, **backbone.kwargs).eval()
    save_encoder(tmp_path, encoder, backbone)
    ours, size = load_encoder(tmp_path)
    assert size == backbone.image_size
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), encoder(images), rtol=0, atol=0)
        theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
        torch.testing.assert_close(theirs(images), encoder(images), rtol=0, atol=0)


def test_same_weights_same_bytes(tmp_path):
    torch.manual_seed(0)
    encoder = encoders.create("test_resnet", 28)
    for name in ("a", "b"):
        save_encoder(tmp_path / name, encoder, Backbone("test_resnet", 28, {}))
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_missing_encoder_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="no encoder there; run: dvc repro pretrain"):
        load_encoder(tmp_path)
