"""Backbones by timm name, at the sizes that the configs use."""

import pytest
import torch

from models import encoders


@pytest.mark.parametrize(
    ("name", "size", "kwargs"),
    [
        ("test_resnet", 28, {}),
        ("mobilenetv2_100", 64, {}),
        ("resnet18", 64, {}),
        ("vit_tiny_patch16_224", 64, {"img_size": 64, "patch_size": 8}),
    ],
)
def test_features_have_the_stated_width_and_local_views_work(name, size, kwargs):
    encoder = encoders.create(name, size, **kwargs).eval()
    with torch.no_grad():
        for side in (size, 48 if size == 64 else 16):
            assert encoder(torch.zeros(2, 3, side, side)).shape == (2, encoders.width(encoder))


def test_an_unknown_name_is_one_line_with_near_names():
    with pytest.raises(ValueError, match="'resnet180' is no timm model; near names: .*resnet") as caught:
        encoders.create("resnet180", 28)
    assert "\n" not in str(caught.value)
