"""A few steps on generated pictures: the same twice, in the pictures' coordinates, as pycocotools says."""

import dataclasses

import numpy as np
import pytest
import torch

from models import encoders
from models.detector import detect, picture_detector
from tests.annotated import coco_folder, ingested, random_pictures
from tests.winnow.evaluation.test_average_precision import oracle
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.schema import Run
from winnow.evaluation.average_precision import NAMES
from winnow.evaluation.detection import Config
from winnow.evaluation.picture_detection import (
    PictureConfig,
    finetune_pictures,
    open_pictures,
    protocol,
    split_rows,
)
from winnow.evaluation.scene_pictures import CELL, GAP, HEADING, draw_pictures
from winnow.training.device import launch

SETTINGS = PictureConfig(short_side=64, long_side=96, steps=3, batch_size=2, lr=1e-3)


def without_masks(made, split):
    for annotation in made["annotations"]:
        del annotation["segmentation"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("coco")
    dataset = coco_folder(root, random_pictures(6, 0), random_pictures(5, 1))
    _, pool, annotations = ingested(root, dataset)
    return open_pictures(pool, annotations, split_rows(pool, annotations)[0], SETTINGS)


def run(sets, **changes):
    torch.manual_seed(7)
    encoder = encoders.create("test_resnet", 64)
    settings = dataclasses.replace(SETTINGS, **changes)
    return finetune_pictures(encoder, *sets, settings, 0, launch(Run(accelerator="cpu", threads=1)))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_outcome(sets):
    one, two = run(sets), run(sets)
    assert one == two
    assert one.flops > 0


@pytest.mark.slow
def test_pycocotools_confirms_the_numbers(sets):
    one = run(sets, steps=40)
    assert list(one.metrics) == [f"{kind}_{name}" for kind in ("box", "mask") for name in NAMES]
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        theirs = oracle(sets[1].coco, one.found, kind)
        ours = [one.metrics[f"{name}_{part}"] for part in NAMES]
        known = [value for value in theirs if value >= 0]
        np.testing.assert_allclose([v for v in ours if v is not None], known, rtol=0, atol=1e-6)
        assert theirs[1] > 0.01  # a comparison of zeros would say nothing
    assert draw_pictures(sets[1], one.found).size == (4 * CELL[0] + 3 * GAP, HEADING + 3 * CELL[1] + 2 * GAP)


@pytest.mark.slow
def test_a_set_of_boxes_trains_and_reports_boxes_alone(tmp_path):
    dataset = coco_folder(tmp_path, random_pictures(4, 0), random_pictures(2, 1), without_masks)
    _, pool, annotations = ingested(tmp_path, dataset)
    boxed = open_pictures(pool, annotations, split_rows(pool, annotations)[0], SETTINGS)
    outcome = run(boxed)
    assert list(outcome.metrics) == [f"box_{name}" for name in NAMES]
    assert all("segmentation" not in one for one in outcome.found)
    assert protocol(SETTINGS, *boxed).startswith("Faster R-CNN")
    draw_pictures(boxed[1], outcome.found)


def test_detections_are_in_pixels_of_the_picture_before_it_was_resized():
    """Detections of a picture of twice the size are twice as large, and their masks too."""
    torch.manual_seed(0)
    net = picture_detector(encoders.create("test_resnet", 64), 2, (64, 96), True).eval()
    net.roi_heads.score_thresh = 0.0  # an untrained net is sure of nothing
    image = torch.rand(3, 64, 80)
    (small,), (large,) = (detect(net, [image], [size]) for size in ((64, 80), (128, 160)))
    assert len(small["boxes"]) > 0
    torch.testing.assert_close(2 * small["boxes"], large["boxes"])
    assert small["masks"].shape[1:] == (1, 64, 80)
    assert large["masks"].shape[1:] == (1, 128, 160)


def test_images_are_not_resized_again():
    net = picture_detector(encoders.create("test_resnet", 64), 2, (64, 96), False)
    for mode in (net.train(), net.eval()):
        for size in ((64, 71), (45, 96)):
            images, _ = mode.transform([torch.rand(3, *size)])
            assert images.image_sizes == [size]


def test_a_split_without_objects_is_one_line(tmp_path):
    dataset = coco_folder(tmp_path, random_pictures(2, 0), [({}, (60, 60))])
    _, pool, annotations = ingested(tmp_path, dataset)
    with pytest.raises(ValueError, match="0 annotated pictures of the split 'test' have no object"):
        split_rows(pool, annotations)


def test_exact_copies_are_tested_on_and_said(tmp_path):
    pictures = random_pictures(3, 0)
    _, pool, annotations = ingested(tmp_path, coco_folder(tmp_path, pictures, pictures[:1]))
    rows, (line,) = split_rows(pool, annotations)
    assert {name: part.tolist() for name, part in rows.items()} == {"train": [1, 2], "test": [3]}
    assert line.startswith("1 annotated pictures are exact copies, 0 of them annotated otherwise")


def test_sides_in_the_wrong_order_are_one_line():
    wanted = r"tasks\.detection\.pictures\.long_side: 64 is below tasks\.detection\.pictures\.short_side: 128"
    with pytest.raises(ParamsError, match=wanted):
        plugin_config(Config, "tasks.detection", {"pictures": {"short_side": 128, "long_side": 64}})


def test_protocol_says_what_the_numbers_are(sets):
    text = protocol(SETTINGS, *sets)
    assert text.startswith("Mask R-CNN with FPN")
    assert "on 6 pictures with" in text
    assert "\n" not in text
