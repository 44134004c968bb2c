"""The encoder's own weights feed the pyramid, at the stated strides, and torchvision's contract holds."""

import copy

import pytest
import timm
import torch
from torch import nn

from models import encoders
from models.detector import STRIDES, WIDTH, Pyramid, detector

CANVAS = 64
BACKBONES = {"cnn": ("test_resnet", {}), "vit": ("test_vit", {"patch_size": 8})}


@pytest.fixture(params=BACKBONES)
def encoder(request):
    torch.manual_seed(0)
    name, kwargs = BACKBONES[request.param]
    return encoders.create(name, 32, **kwargs)


def scene(boxes):
    """A random image and a target whose masks fill the boxes."""
    masks = torch.zeros(len(boxes), CANVAS, CANVAS, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[top:bottom, left:right] = 1
    labels = torch.arange(1, len(boxes) + 1)
    corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return torch.rand(3, CANVAS, CANVAS), {"boxes": corners, "labels": labels, "masks": masks}


def test_a_map_for_each_stride(encoder):
    maps = Pyramid(encoder)(torch.rand(2, 3, CANVAS, CANVAS))
    expected = {str(s): (2, WIDTH, CANVAS // s, CANVAS // s) for s in STRIDES}
    assert {name: tuple(m.shape) for name, m in maps.items()} == expected


@pytest.mark.parametrize(("canvas", "strides"), [(64, ["4", "8", "16"]), (80, ["4", "8", "16", "32"])])
def test_levels_whose_anchors_fit_the_canvas_are_searched(canvas, strides):
    assert detector(encoders.create("test_resnet", 28), 3, canvas).backbone.names == strides  # 2.5 * 32 is 80


def test_losses_are_torchvisions_and_finite_and_reach_the_encoder(encoder):
    net = detector(encoder, 3, CANVAS).train()
    filled, empty = scene([[4, 6, 24, 30], [30, 30, 58, 50]]), scene([])
    images, targets = zip(filled, empty, strict=True)
    losses = net(list(images), list(targets))
    # Names: torchvision.models.detection.maskrcnn_resnet50_fpn's documentation, RPN and Mask R-CNN losses.
    heads = {"loss_classifier", "loss_box_reg", "loss_mask"}
    assert set(losses) == {*heads, "loss_objectness", "loss_rpn_box_reg"}
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    first = next(p for name, p in encoder.named_parameters() if name.endswith("weight"))
    assert first.grad is not None
    assert first.grad.abs().sum() > 0


def test_detections_have_torchvisions_form(encoder):
    net = detector(encoder, 3, CANVAS).eval()
    net.roi_heads.score_thresh = 0.0  # an untrained net is sure of nothing
    with torch.no_grad():
        outputs = net([torch.rand(3, CANVAS, CANVAS) for _ in range(2)])
    for out in outputs:
        count = len(out["scores"])
        assert 0 < count <= 20
        assert out["boxes"].shape == (count, 4)
        assert out["masks"].shape == (count, 1, CANVAS, CANVAS)
        assert 0 <= out["masks"].min() <= out["masks"].max() <= 1
        assert 0 <= out["boxes"].min() <= out["boxes"].max() <= CANVAS
        assert set(out["labels"].tolist()) <= {1, 2, 3}


def fed(net, images):
    """The inputs of a pyramid network."""
    seen = []
    net.backbone.pyramid.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0].values()))
    with torch.no_grad():
        net.backbone(images)
    return seen


def test_cnn_maps_are_those_of_timms_features_only_model_with_the_same_weights():
    torch.manual_seed(0)
    encoder = encoders.create("test_resnet", 28)
    for part in encoder.modules():  # statistics as after training, so that a lost BatchNorm would show
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.5, 2.0)
    oracle = timm.create_model("test_resnet", features_only=True, out_indices=(1, 2, 3, 4))
    oracle.load_state_dict(encoder.state_dict())
    images = torch.rand(2, 3, CANVAS, CANVAS)
    with torch.no_grad():
        maps = oracle.eval()(images)
    for found, expected in zip(fed(detector(encoder, 3, CANVAS).eval(), images), maps, strict=True):
        torch.testing.assert_close(found, expected)


def test_other_encoder_weights_give_other_maps(encoder):
    other = copy.deepcopy(encoder)
    with torch.no_grad():
        weight = next(value for name, value in other.named_parameters() if name.endswith("weight"))
        weight.add_(0.1 * torch.randn_like(weight))
    images = torch.rand(1, 3, CANVAS, CANVAS)
    for one, two in zip(*(fed(detector(e, 3, CANVAS).eval(), images) for e in (encoder, other)), strict=True):
        assert not torch.allclose(one, two)


def test_vit_levels_are_blocks_at_quarters_of_the_depth():
    # Li et al., arXiv 2111.11429, section 3: maps from evenly spaced blocks, d/4 apart.
    assert Pyramid(encoders.create("vit_tiny_patch16_224", 64, patch_size=8)).indices == [2, 5, 8, 11]


def test_batch_norm_stays_as_pretrained_in_train_mode():
    encoder = encoders.create("test_resnet", 28)
    net = detector(encoder, 3, CANVAS).train()
    before = {name: value.clone() for name, value in net.backbone.encoder.named_buffers()}
    image, target = scene([[4, 6, 24, 30]])
    sum(net([image, image], [target, target]).values()).backward()
    after = dict(net.backbone.encoder.named_buffers())
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_patch_that_does_not_divide_the_canvas_is_padded_for():
    net = detector(encoders.create("test_vit", 28, patch_size=14), 3, CANVAS).eval()
    with torch.no_grad():
        (out,) = net([torch.rand(3, CANVAS, CANVAS)])
    assert out["masks"].shape[-2:] == (CANVAS, CANVAS)


def test_inputs_are_normalised_with_the_encoders_mean_and_std():
    net = detector(encoders.create("test_resnet", 28), 3, CANVAS, mean=0.5, std=0.25)
    images, _ = net.transform([torch.ones(3, CANVAS, CANVAS)])
    torch.testing.assert_close(images.tensors, torch.full_like(images.tensors, 2.0))  # (1 - 0.5) / 0.25


def test_an_encoder_without_maps_is_refused():
    with pytest.raises(ValueError, match="Linear gives no intermediate maps"):
        detector(nn.Linear(2, 2), 3, CANVAS)


def test_an_encoder_without_a_wanted_stride_is_refused():
    encoder = encoders.create("test_resnet", 28)
    encoder.feature_info = encoder.feature_info[:-1]
    with pytest.raises(ValueError, match="strides \\[2, 4, 8, 16\\]"):
        detector(encoder, 3, CANVAS)
