"""Detection on scenes of scikit-learn's digits: a few steps are the same twice, and AP is COCO's."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from models import encoders
from models.flops import measure
from winnow.config.schema import Run
from winnow.evaluation import scenes
from winnow.evaluation.average_precision import evaluate
from winnow.evaluation.detection import Config, finetune, protocol
from winnow.evaluation.detector_training import _order
from winnow.evaluation.scene_pictures import draw_samples
from winnow.training.device import launch

SETTINGS = Config(canvas=64, objects=[1, 3], train_scenes=6, test_scenes=4, steps=3, batch_size=2, lr=1e-3)
NAMES = [str(digit) for digit in range(10)]


def digits(count, name, first):
    bunch = load_digits()
    chosen = slice(first, first + 40)
    grey = [Image.fromarray((i * 255 / 16).astype(np.uint8)).resize((28, 28)) for i in bunch.images[chosen]]
    images = np.repeat(np.stack([np.asarray(i) for i in grey])[:, None], 3, axis=1)
    uids = [f"{i:032x}" for i in range(40)]
    source = scenes.Source(images, bunch.target[chosen].tolist(), uids, NAMES)
    return scenes.compose(source, count, SETTINGS.canvas, (1, 3), name)


@pytest.fixture(scope="module")
def sets():
    return digits(6, "train", 0), digits(4, "test", 100)


def run(sets, **changes):
    torch.manual_seed(7)
    encoder = encoders.create("test_resnet", 28)
    settings = replace(SETTINGS, **changes)
    return encoder, finetune(encoder, *sets, settings, 0, launch(Run(accelerator="cpu", threads=1)))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_outcome_and_the_encoder_is_finetuned(sets):
    torch.manual_seed(7)
    start = {name: value.clone() for name, value in encoders.create("test_resnet", 28).state_dict().items()}
    (encoder, one), (_, two) = run(sets), run(sets)
    assert one == two
    figures = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
    assert list(one.metrics) == [f"{kind}_{figure}" for kind in ("box", "mask") for figure in figures]
    assert all(value is None or 0 <= value <= 1 for value in one.metrics.values())
    first = next(name for name, _ in encoder.named_parameters())
    assert not torch.equal(encoder.state_dict()[first], start[first])


@pytest.mark.slow
def test_flops_grow_with_the_steps_by_one_training_step(sets):
    # The first step is counted and multiplied, so differences are whole steps, but for inference, which has
    # other proposals with other weights. A step costs at least the encoder's forward and backward.
    (_, three), (_, two), (_, one) = (run(sets, steps=n) for n in (3, 2, 1))
    assert run(sets, steps=1, schedule=2)[1] == two  # the 2x schedule of one step
    step = two.flops - one.flops
    assert three.flops - two.flops == pytest.approx(step, rel=0.05)
    encoder = encoders.create("test_resnet", 28)
    assert step > measure(lambda: encoder(torch.zeros(2, 3, 64, 64)).sum().backward())


def test_perfect_detections_have_ap_one_and_none_have_zero(sets):
    # By the definition of COCO's average precision.
    truth, before = sets[1].coco, copy.deepcopy(sets[1].coco)
    keys = ("image_id", "category_id", "bbox", "segmentation")
    perfect = [{key: a[key] for key in keys} | {"score": 1.0} for a in truth["annotations"]]
    given = copy.deepcopy(perfect)
    assert set(evaluate(truth, perfect).values()) == {1.0}
    assert (truth, perfect) == (before, given)  # drawn afterwards
    assert all(type(one["category_id"]) is int for one in perfect)
    assert set(evaluate(truth, []).values()) == {0.0}


def test_ap_without_objects_is_undefined(sets):
    assert set(evaluate({**sets[1].coco, "annotations": []}, []).values()) == {None}


def test_every_scene_comes_once_before_any_comes_again():
    order = np.concatenate(_order([0] * 5, 4, 3, seed=0)).tolist()
    assert sorted(order[:5]) == sorted(order[5:10]) == list(range(5))
    assert order[:5] != order[5:10]


def test_a_batch_is_of_one_group_and_all_come_as_often():
    groups = [0, 1, 0, 0, 1, 0, 1]
    order = _order(groups, 70, 2, seed=0)
    assert all(len({groups[i] for i in batch}) == 1 and len(batch) == 2 for batch in order)
    counts = np.bincount(np.concatenate(order))
    assert counts.max() - counts.min() <= 2
    assert sum(counts) == 140


def test_a_loss_that_is_not_finite_names_the_key(sets):
    with pytest.raises(
        ValueError, match=r"tasks\.detection\.lr: 1e\+30 gives a loss that is not finite; lower"
    ):
        run(sets, lr=1e30, steps=4)


def test_samples_have_the_same_bytes_twice(sets):
    found = [dict(a, score=0.9) for a in sets[1].coco["annotations"]]
    one, two = draw_samples(sets[1], found), draw_samples(sets[1], found)
    assert one.tobytes() == two.tobytes()
    top, bottom = one.crop((0, 0, one.width, 192)), one.crop((0, 196, one.width, 388))
    assert top.tobytes() == bottom.tobytes()  # the detections are the truth
    assert draw_samples(sets[1], []).tobytes() != one.tobytes()


def test_protocol_says_what_the_numbers_are(sets):
    text = protocol(SETTINGS, *sets)
    assert "3 steps" in text
    assert "not comparable with detectron2" in text
    assert "\n" not in text
