"""Mask R-CNN with a feature pyramid on a timm encoder: images in; boxes, classes and masks out.

Heads, matching, sampling and losses are torchvision's (He et al., Mask R-CNN, arXiv 1703.06870; Lin et al.,
FPN, arXiv 1612.03144), cut down for small canvases and a CPU: a pyramid and heads of 64 channels, anchors of
`ANCHORS` times each level's stride, and few proposals (`PROPOSALS`), whose number is why a step of
torchvision's own model costs seconds.

The pyramid gets a map at each of `STRIDES` pixels, the encoder's deepest included; objects are detected at
the strides whose smaller anchor fits on the canvas (4, 8 and 16 at 64 px). A convolutional encoder has its
own map of each stride. From an encoder whose maps all have one stride (a plain ViT) the pyramid takes maps at
evenly spaced depths, the deepest for the coarsest level, resized: bilinear up, area average down. That is the
pyramid of Li et al., arXiv 2111.11429, with resizing in place of transposed convolutions and the usual
top-down FPN behind it; it is simpler than ViTDet's (arXiv 2203.16527).

`detector` is for square canvases, `picture_detector` for pictures of any size. The latter also searches at a
stride of 64 px (the pooled coarsest map, as in the FPN paper), with anchors of `PICTURE_ANCHORS` times each
stride, so that an object may fill a picture of 160 to 320 px, and pools a box from the level at which it is 7
to 14 cells wide (half of the FPN paper's, for pictures of a quarter of its sides). Its pyramid and mask head
have GroupNorm, as He et al., arXiv 1811.08883, need it to train from small batches without ImageNet's
weights.
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from timm.layers import freeze_batch_norm_2d
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from models.dense import STRIDES, chosen, divisor, intermediates, maps, resized
from models.encoders import Channels

PerChannel = float | Channels
ANCHORS = (2.5, 3.5)
WIDTH = 64
HIDDEN = 256
SAMPLES = 1  # per side of a RoIAlign bin, which is at most a cell wide; 2 cost a quarter more, AP no better
PROPOSALS: dict[str, int] = {
    "rpn_pre_nms_top_n_train": 200,
    "rpn_pre_nms_top_n_test": 200,
    "rpn_post_nms_top_n_train": 100,
    "rpn_post_nms_top_n_test": 100,
    "rpn_batch_size_per_image": 64,
    "box_batch_size_per_image": 16,
    "box_detections_per_img": 20,
}
GROUPS = 16
CANONICAL = 112  # pixels: the side of a box from which on it is pooled at a stride of 16
PICTURE_ANCHORS = (3.0, 4.5)
PICTURE_PROPOSALS: dict[str, int] = {
    "rpn_pre_nms_top_n_train": 500,
    "rpn_pre_nms_top_n_test": 500,
    "rpn_post_nms_top_n_train": 250,
    "rpn_post_nms_top_n_test": 250,
    "rpn_batch_size_per_image": 64,
    "box_batch_size_per_image": 64,
    "box_detections_per_img": 100,
}

DESCRIPTION = f"torchvision's, {WIDTH} channels, {PROPOSALS['rpn_post_nms_top_n_test']} proposals"
PICTURE_DESCRIPTION = (
    f"torchvision's, {WIDTH} channels, GroupNorm, {PICTURE_PROPOSALS['rpn_post_nms_top_n_test']} proposals"
)


class Pyramid(nn.Module):
    """An encoder and a feature pyramid over its intermediate maps, of which it returns the `levels` finest.

    With `pooled` also the coarsest one at every second pixel, by the name "pool".

    Raises:
        ValueError: if the encoder returns no intermediate maps, or lacks one of `STRIDES`.
    """

    def __init__(self, encoder: nn.Module, levels: int = len(STRIDES), pooled: bool = False) -> None:
        super().__init__()
        self.encoder, self.out_channels = encoder, WIDTH
        self.names = [str(stride) for stride in STRIDES[:levels]]
        given = maps(encoder)
        self.indices = chosen([reduction for _, reduction in given])
        extra = (LastLevelMaxPool(), _group_norm) if pooled else ()
        self.pyramid = FeaturePyramidNetwork([given[index][0] for index in self.indices], WIDTH, *extra)
        self.names += ["pool"] if pooled else []

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) -> a map (B, WIDTH, H / stride, W / stride) for each level, by its stride's name."""
        features = intermediates(self.encoder, images, self.indices)
        sizes = [(images.shape[-2] // stride, images.shape[-1] // stride) for stride in STRIDES]
        named = zip(map(str, STRIDES), map(resized, features, sizes), strict=True)
        found = self.pyramid(OrderedDict(named))
        return {name: found[name] for name in self.names}


def detector(
    encoder: nn.Module, classes: int, canvas: int, mean: PerChannel = 0.5, std: PerChannel = 0.5
) -> MaskRCNN:
    """A Mask R-CNN that trains the whole encoder; new layers are initialised from torch's current RNG.

    The encoder's BatchNorm layers are fixed, statistics and scale, as pretraining left them: batches of 4 are
    too few for new statistics. Everything else in it trains.

    Call it with a list of float images (3, canvas, canvas) in [0, 1]; in train mode also with a list of
    targets `boxes` (k, 4) as x1 y1 x2 y2 in pixels, `labels` (k,) in 1..classes and `masks` uint8 (k, canvas,
    canvas), which gives a dict of losses. In eval mode each image gives `boxes` (m, 4), `labels` (m,),
    `scores` (m,) and `masks` (m, 1, canvas, canvas) in [0, 1].

    Args:
        encoder: a timm encoder for inputs with this mean and std, of all channels or of each; it becomes part
            of the detector.

    Raises:
        ValueError: if the encoder has no maps for a pyramid.
    """
    strides = [stride for stride in STRIDES if ANCHORS[0] * stride <= canvas]
    levels = [str(stride) for stride in strides]
    return MaskRCNN(
        Pyramid(freeze_batch_norm_2d(encoder), len(levels)),
        min_size=canvas,
        max_size=canvas,
        image_mean=_channels(mean),
        image_std=_channels(std),
        size_divisible=divisor(encoder),
        rpn_anchor_generator=_anchors(ANCHORS, strides),
        box_roi_pool=MultiScaleRoIAlign(levels, 7, SAMPLES),
        **_box_head(classes),
        mask_roi_pool=MultiScaleRoIAlign(levels, 14, SAMPLES),
        **_mask_head(classes),
        **PROPOSALS,
    )


def picture_detector(
    encoder: nn.Module,
    classes: int,
    sides: tuple[int, int],
    masks: bool,
    mean: PerChannel = 0.5,
    std: PerChannel = 0.5,
) -> FasterRCNN:
    """The same for pictures of any size: Mask R-CNN, or without `masks` Faster R-CNN.

    Call it with a list of images (3, H, W) that were resized to `sides`: the shorter side is the first, or
    the longer one the second. `detect` returns what it finds in coordinates of the pictures before that.

    Raises:
        ValueError: if the encoder has no maps for a pyramid.
    """
    levels = [str(stride) for stride in STRIDES]
    pools = [MultiScaleRoIAlign(levels, size, 2, canonical_scale=CANONICAL) for size in (7, 14)]
    head = {"mask_roi_pool": pools[1]} | _mask_head(classes, _group_norm) if masks else {}
    return (MaskRCNN if masks else FasterRCNN)(
        Pyramid(freeze_batch_norm_2d(encoder), pooled=True),
        min_size=sides[0],
        max_size=sides[1],
        image_mean=_channels(mean),
        image_std=_channels(std),
        size_divisible=divisor(encoder),
        rpn_anchor_generator=_anchors(PICTURE_ANCHORS, [*STRIDES, 2 * STRIDES[-1]]),
        box_roi_pool=pools[0],
        **_box_head(classes),
        **head,
        **PICTURE_PROPOSALS,
        _skip_resize=True,
    )


@torch.no_grad()
def detect(net: FasterRCNN, images: list[Tensor], sizes: list[tuple[int, int]]) -> list[dict[str, Tensor]]:
    """What a detector in eval mode finds in `images` (3, H, W), in pixels of pictures of `sizes`.

    Args:
        sizes: height and width of each picture before it was resized; masks are pasted at that size.
    """
    inputs, _ = net.transform(images)
    features = net.backbone(inputs.tensors)
    proposals, _ = net.rpn(inputs, features)
    found, _ = net.roi_heads(features, proposals, inputs.image_sizes)
    return net.transform.postprocess(found, inputs.image_sizes, sizes)


def _anchors(ratios: tuple[float, ...], strides: list[int]) -> AnchorGenerator:
    sizes = tuple(tuple(ratio * stride for ratio in ratios) for stride in strides)
    return AnchorGenerator(sizes, ((0.5, 1.0, 2.0),) * len(sizes))


def _box_head(classes: int) -> dict[str, nn.Module]:
    head = TwoMLPHead(WIDTH * 7 * 7, HIDDEN)
    return {"box_head": head, "box_predictor": FastRCNNPredictor(HIDDEN, classes + 1)}


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels)


def _mask_head(classes: int, norm: Callable[[int], nn.Module] | None = None) -> dict[str, nn.Module]:
    head = MaskRCNNHeads(WIDTH, (WIDTH, WIDTH), 1, norm)
    return {"mask_head": head, "mask_predictor": MaskRCNNPredictor(WIDTH, WIDTH, classes + 1)}


def _channels(value: PerChannel) -> list[float]:
    return [value] * 3 if isinstance(value, float | int) else list(value)
