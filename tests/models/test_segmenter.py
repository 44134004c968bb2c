"""Segmenters: the linear head beside an explicit hypercolumn, what trains, and inputs of any size."""

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from models import encoders
from models.segmenter import Segmenter


def made(name="test_resnet", frozen=True, classes=3, size=64):
    torch.manual_seed(0)
    return Segmenter(encoders.create(name, size), classes, frozen)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
@pytest.mark.parametrize("frozen", [True, False])
def test_images_of_any_size_give_logits_of_their_size(name, frozen):
    net = made(name, frozen, size=160 if name == "test_vit" else 64).eval()
    for size in ((64, 64), (45, 71)):
        assert net(torch.rand(2, 3, *size)).shape == (2, 3, *size)


def test_the_linear_head_is_one_convolution_of_the_stacked_maps():
    """Maps resized to the finest, stacked, and one 1 x 1 convolution; each map is normalised before."""
    net = made()
    images = torch.rand(4, 3, 64, 64)
    with torch.no_grad():
        maps = net.maps(images)
        stacked = torch.cat(
            [
                F.interpolate(
                    F.batch_norm(one, None, None, training=True), maps[0].shape[-2:], mode="bilinear"
                )
                for one in maps
            ],
            dim=1,
        )
        weight = torch.cat([level[1].weight for level in net.head.levels], dim=1)
        bias = sum(level[1].bias for level in net.head.levels)
        expected = F.interpolate(F.conv2d(stacked, weight, bias), (64, 64), mode="bilinear")
        torch.testing.assert_close(net.train()(images), expected, atol=1e-5, rtol=1e-4)


def test_its_maps_are_those_of_timms_features_only_model():
    net = made().eval()
    theirs = timm.create_model("test_resnet", features_only=True, out_indices=(1, 2, 3, 4)).eval()
    theirs.load_state_dict(net.encoder.state_dict(), strict=False)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(net.maps(images), theirs((images - 0.5) / 0.5), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_stays_and_a_finetuned_one_trains(frozen):
    net = made(frozen=frozen).train()
    before = {name: value.clone() for name, value in net.encoder.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], 0.1)
    net(torch.rand(2, 3, 64, 64)).square().mean().backward()
    optimizer.step()
    changed = {
        name for name, value in net.encoder.state_dict().items() if not torch.equal(value, before[name])
    }
    stem = {"conv1.0.weight", "bn1.running_mean"}  # last layers of blocks begin at 0, and hide their others
    assert changed == set() if frozen else changed >= stem


def test_an_encoder_without_maps_is_refused():
    with pytest.raises(ValueError, match="Linear gives no intermediate maps"):
        Segmenter(nn.Linear(2, 2), 3, True)
