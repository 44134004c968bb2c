"""Training and testing of segmenters on scenes and pictures: what it must learn, repeat, and refuse."""

import dataclasses

import numpy as np
import pytest
import torch

from models import encoders
from tests.pools import ingest
from tests.winnow.sources.test_segmentation_folder import write
from winnow.config.datasets import Dataset
from winnow.config.errors import ParamsError
from winnow.config.parse import plugin_config
from winnow.config.schema import Run
from winnow.evaluation import scenes, segmentation_training
from winnow.evaluation.intersection import VOID
from winnow.evaluation.mask_drawings import draw_masks
from winnow.evaluation.mask_pictures import MaskedScenes
from winnow.evaluation.segmentation import Config, PictureConfig, measured, metrics, open_pictures, protocol
from winnow.evaluation.segmentation_training import Schedule, loss_of, segment
from winnow.pool.masks import Masks
from winnow.training.device import launch

FABRIC = launch(Run(accelerator="cpu", threads=1))


@pytest.fixture(scope="module")
def data():
    """Scenes of red and green squares, which any encoder tells apart."""
    images = np.zeros((4, 3, 14, 14), np.uint8)
    images[::2, 0] = images[1::2, 1] = 255
    source = scenes.Source(images, [0, 1, 0, 1], list("abcd"), ["red", "green"])
    return MaskedScenes(scenes.compose(source, 8, 32, (1, 2), "test"))


def encoder():
    torch.manual_seed(7)
    return encoders.create("test_resnet", 32)


def run(data, frozen=True, steps=3, lr=1e-2, net=None):
    return segment(net or encoder(), data, data, Schedule(steps, 4, lr), frozen, 0, FABRIC, "key")


def test_the_masks_of_scenes_are_their_objects(data):
    """Each pixel's class is told by its colour: the canvas is grey."""
    red = (data.images[:, 0] == 255) & (data.images[:, 1] == 0)
    green = (data.images[:, 1] == 255) & (data.images[:, 0] == 0)
    np.testing.assert_array_equal(data.masks, (red + 2 * green.int()).numpy())
    assert data.classes == ["background", "red", "green"]


def test_training_learns(data):
    assert run(data, frozen=False, steps=60).counts.metrics()["miou"] > 0.8
    few, many = (run(data, steps=steps).counts.metrics()["miou"] for steps in (1, 60))
    assert many > max(few, 0.5)


@pytest.mark.parametrize("frozen", [True, False])
def test_the_same_seed_gives_the_same_outcome(data, frozen):
    one, two = run(data, frozen), run(data, frozen)
    np.testing.assert_array_equal(one.counts.hits, two.counts.hits)
    assert one.flops == two.flops > 0


def test_maps_that_are_kept_and_maps_that_are_made_again_train_alike(data, monkeypatch):
    kept = run(data)
    monkeypatch.setattr(segmentation_training, "KEPT_BYTES", 0)
    again = run(data)
    np.testing.assert_array_equal(kept.counts.predicted, again.counts.predicted)
    assert again.flops > kept.flops  # 3 steps of 4 read more than 8 images


def test_features_that_are_not_finite_are_one_line(data):
    net = encoder()
    next(net.parameters()).data.fill_(float("nan"))
    for frozen in (True, False):
        with pytest.raises(ValueError, match="not finite; (mend its weights|lower it, or mend the encoder)"):
            run(data, frozen, net=net)


def test_a_cut_without_a_judged_pixel_teaches_nothing():
    logits = torch.randn(1, 3, 4, 4, requires_grad=True)
    loss = loss_of(logits, torch.full((1, 4, 4), VOID))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()


@pytest.fixture
def pictures(tmp_path):
    """Pictures of 6 x 4 px, one of them without a mask; class 2 occurs in no test picture."""
    root = tmp_path / "own"
    for split, count in (("train", 5), ("val", 2)):
        for number in range(count):
            write(root / "images" / split / f"{number}.jpg")
            if (split, number) != ("train", 4):
                values = [0, 0, 1, 1, 255, 2] if split == "train" else [0, 0, 0, 1, 1, 255]
                write(root / "masks" / split / f"{number}.png", values)
    (root / "classes.json").write_text('["grass", "road", "tree"]')
    _, pool = ingest(tmp_path / "pool", Dataset("segmentation_folder", path=str(root)))
    splits = np.array(pool.table["split"].to_pylist())
    return (
        pool,
        Masks.open(tmp_path / "pool"),
        {name: np.flatnonzero(splits == name) for name in ("train", "test")},
    )


SMALL = PictureConfig(32, 40, 0.5, Schedule(2, 2, 1e-3), Schedule(2, 2, 1e-3))


def test_pictures_are_judged_at_their_stored_size(pictures):
    training, test, lines = open_pictures(*pictures, SMALL)
    assert lines == ["1 of 5 pictures of train have no mask: left out"]
    found = measured(encoder(), training, test, SMALL, 0, FABRIC, "key", shown=1)
    assert set(metrics(found)) == {
        f"{mode}_{name}"
        for mode in ("linear", "finetune")
        for name in ("miou", "mean_accuracy", "pixel_accuracy")
    }
    for one in found.values():
        np.testing.assert_array_equal(one.counts.truth, [[12, 8, 0], [12, 8, 0]])
    assert "the 2 of 3 classes that occur in the truth of test, tree being absent" in protocol(
        found, SMALL, "pictures", list(training.classes)
    )
    assert draw_masks(test, {mode: one.shown for mode, one in found.items()}).width > 200


def test_a_training_square_is_padded_with_what_is_not_judged(pictures):
    """6 x 4 px at most 40 px wide are 40 x 27 px: a square of 32 px has 5 rows of padding."""
    training, _, _ = open_pictures(*pictures, SMALL)
    images, classes = training.batch([0, 1], torch.Generator().manual_seed(0))
    assert images.shape == (2, 3, 32, 32)
    assert (classes[:, 27:] == VOID).all()
    assert set(classes.unique().tolist()) <= {0, 1, 2, VOID}


def test_a_split_without_masks_is_one_line(pictures):
    pool, masks, rows = pictures
    with pytest.raises(
        ValueError, match="none of the 0 pictures of 'test' has a mask; segmentation needs masks"
    ):
        open_pictures(pool, masks, rows | {"test": rows["test"][:0]}, SMALL)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (
            {"linear": {"steps": 0}, "finetune": {"steps": 0}},
            "linear.steps and .*: both 0; give one of them steps",
        ),
        (
            {"pictures": {"long_side": 64}},
            "long_side: 64 is below tasks.segmentation.pictures.short_side: 256",
        ),
        ({"objects": [3, 1]}, r"objects: \[3, 1\] is wrong; allowed: \[least, most\]"),
        ({"linear": {"lr": 0.0}}, "linear.lr: 0.0 is out of range; allowed: above 0"),
        ({"canvas": 16}, "canvas: 16 is out of range"),
    ],
)
def test_settings_that_cannot_work_are_one_line(values, says):
    with pytest.raises(ParamsError, match=f"^tasks.segmentation.*{says}"):
        plugin_config(Config, "tasks.segmentation", values)
    assert dataclasses.asdict(plugin_config(Config, "tasks.segmentation", {}))["linear"]["steps"] == 300
