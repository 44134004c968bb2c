"""Pictures and targets agree: the oracle is the colour of the pixels, or the json."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from tests.annotated import IDS, coco_folder, ingested, random_pictures
from winnow.evaluation.pictures import Pictures, mirrored
from winnow.pool.annotations import Annotations

NAMES = sorted(IDS, key=IDS.get)
# Boxes on even pixels, so that half the size is exact, and no two overlap.
EXACT = [
    ({(20, 10, 30, 40): "red", (70, 60, 20, 16): "green"}, (120, 80)),
    ({(4, 50, 40, 60): "green"}, (60, 128)),
    ({}, (64, 64)),
]


def crowd(made, split):
    if split == "train":
        made["annotations"][1].update(iscrowd=1, segmentation={"size": [80, 120], "counts": [0, 9600]})


@pytest.fixture
def exact(tmp_path):
    _, pool, annotations = ingested(tmp_path, coco_folder(tmp_path, EXACT, random_pictures(2, 0)))
    return Pictures(pool, annotations, np.arange(3), (40, 64))


def colour_box(image, channel):
    """x1 y1 x2 y2 of the pixels whose channel is lit and whose other two are not, uint8 (3, h, w)."""
    others = [c for c in (0, 1) if c != channel]
    rows, columns = torch.where((image[channel] > 200) & (image[others] < 60).all(0))
    return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


def test_sides_are_bounded_and_keep_their_ratio(exact):
    assert exact.sizes == [(80, 120), (128, 60), (64, 64)]
    assert [exact.resized(i) for i in range(3)] == [(40, 60), (64, 30), (40, 40)]
    assert [tuple(exact.image(i).shape) for i in range(3)] == [(3, 40, 60), (3, 64, 30), (3, 40, 40)]


@pytest.mark.parametrize("flip", [False, True])
def test_boxes_and_masks_lie_on_the_pixels(exact, flip):
    for i in range(3):
        image, target = exact.image(i), exact.target(i, masks=True)
        if flip:
            image, target = mirrored(image, target)
        assert target["masks"].shape[1:] == image.shape[1:]
        for box, label, mask in zip(*(target[name] for name in ("boxes", "labels", "masks")), strict=True):
            channel = 0 if NAMES[label - 1] == "red" else 1
            assert colour_box(image, channel) == box.tolist()
            left, top, right, bottom = box.int().tolist()
            wanted = torch.zeros_like(mask)
            wanted[top:bottom, left:right] = 1
            assert torch.equal(mask, wanted)
    assert exact.target(2, True)["masks"].shape == (0, 40, 40)
    assert exact.target(2, True)["boxes"].shape == (0, 4)


def test_a_batch_is_mirrored_as_often_as_it_says(exact):
    def first(flip, seed=0):
        draw = torch.Generator().manual_seed(seed)
        return exact.batch([0, 0, 0, 0], True, flip, draw)[1]

    still, turned = exact.target(0, True), mirrored(exact.image(0), exact.target(0, True))[1]
    assert all(torch.equal(t["boxes"], still["boxes"]) for t in first(0.0))
    assert all(torch.equal(t["boxes"], turned["boxes"]) for t in first(1.0))
    some = [torch.equal(t["boxes"], turned["boxes"]) for seed in range(20) for t in first(0.5, seed)]
    assert 25 <= sum(some) <= 55  # binomial(80, 1/2) has a standard deviation of 4.5


def test_crowds_are_in_the_truth_and_in_no_target(tmp_path):
    _, pool, annotations = ingested(tmp_path, coco_folder(tmp_path, EXACT, random_pictures(2, 0), crowd))
    data = Pictures(pool, annotations, np.arange(3), (40, 64))
    assert len(data.target(0, True)["labels"]) == 1
    assert [a["iscrowd"] for a in data.coco["annotations"]] == [0, 1, 0]
    assert data.has_masks


def test_the_truth_is_that_of_the_json(tmp_path):
    train = random_pictures(4, 3)
    _, pool, annotations = ingested(tmp_path, coco_folder(tmp_path, train, random_pictures(1, 4)))
    data = Pictures(pool, annotations, np.arange(4), (40, 64))
    given = json.loads((tmp_path / "train.json").read_text())
    names = {one["id"]: one["name"] for one in given["categories"]}
    ours = {one["id"]: one["name"] for one in data.coco["categories"]}
    assert [(i["width"], i["height"]) for i in data.coco["images"]] == [
        (i["width"], i["height"]) for i in given["images"]
    ]
    for mine, theirs in zip(data.coco["annotations"], given["annotations"], strict=True):
        assert ours[mine["category_id"]] == names[theirs["category_id"]]
        assert {k: mine[k] for k in ("id", "image_id", "bbox", "area", "iscrowd")} == {
            k: theirs[k] for k in ("id", "image_id", "bbox", "area", "iscrowd")
        }


def test_objects_without_a_mask_make_a_set_of_boxes(tmp_path):
    def boxes(made, split):
        del made["annotations"][0]["segmentation"]

    _, pool, annotations = ingested(tmp_path, coco_folder(tmp_path, EXACT, random_pictures(2, 0), boxes))
    data = Pictures(pool, annotations, np.arange(3), (40, 64))
    assert not data.has_masks
    assert all("segmentation" not in a for a in data.coco["annotations"])
    assert "masks" not in data.target(0, masks=False)


def test_altered_bytes_stop_the_run(exact):
    path = exact.pool.folder / "shards/shards-000000.tar"
    data = bytearray(path.read_bytes())
    data[int(exact.pool.index.offset[1]) + 60] ^= 255
    path.write_bytes(data)
    exact.image(0)
    with pytest.raises(ValueError, match="its bytes were altered; make it again"):
        exact.image(1)


def test_fast_decoding_gives_the_same_sizes(exact):
    fast = dataclasses.replace(exact, fast=True)
    assert [fast.image(i).shape for i in range(3)] == [exact.image(i).shape for i in range(3)]
    assert isinstance(fast.annotations, Annotations)
