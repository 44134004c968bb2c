"""All 12 numbers of COCO against pycocotools, with crowds, empty pictures and every size of object."""

import contextlib
import io

import numpy as np
import pytest

from winnow.evaluation import scenes
from winnow.evaluation.average_precision import NAMES, evaluate, results


def made(seed=0, count=12):
    """A truth of ellipses of 10 to 150 px in 200 x 160, a sixth of them crowds, and detections near it."""
    random = np.random.default_rng(seed)
    images = [{"id": i + 1, "width": 200, "height": 160} for i in range(count)]
    annotations, found = [], []
    for image in images[:-2]:
        for _ in range(random.integers(1, 6)):
            one = ellipse(random)
            about = {"image_id": image["id"], "category_id": int(random.integers(1, 4))}
            crowd = int(random.random() < 1 / 6)
            annotations.append({"id": len(annotations) + 1, **about, **one, "iscrowd": crowd})
            if random.random() < 0.8:
                moved = ellipse(random, one["at"] + random.normal(0, 0.03, 4) * one["at"][[2, 3, 2, 3]])
                found.append(about | moved | {"score": float(random.random())})
    for _ in range(10):
        about = {"image_id": int(random.integers(1, count + 1)), "category_id": int(random.integers(1, 4))}
        found.append(about | ellipse(random) | {"score": float(random.random())})
    for one in [*annotations, *found]:
        del one["at"]
    categories = [{"id": i, "name": str(i)} for i in (1, 2, 3)]
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}, found


def ellipse(random, at=None):
    """An ellipse by centre and half axes, drawn or given, cut off at the edge of the picture."""
    if at is None:
        at = np.array([*random.uniform(30, 130, 2), *np.exp(random.uniform(np.log(5), np.log(75), 2))])
    rows, columns = np.mgrid[:160, :200]
    mask = ((columns - at[0]) / at[2]) ** 2 + ((rows - at[1]) / at[3]) ** 2 <= 1
    ys, xs = np.nonzero(mask)
    box = [float(v) for v in (xs.min(), ys.min(), np.ptp(xs) + 1, np.ptp(ys) + 1)]
    return {"at": at, "bbox": box, "segmentation": scenes.encode(mask), "area": int(mask.sum())}


def oracle(truth, found, kind):
    pycocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        theirs = pycocotools.COCO()
        theirs.dataset = truth
        theirs.createIndex()
        judge = COCOeval(theirs, theirs.loadRes(results(found, kind)), kind)
        judge.evaluate(), judge.accumulate(), judge.summarize()
    return judge.stats


def test_all_numbers_are_pycocotools_own():
    truth, found = made()
    ours = evaluate(truth, found, names=NAMES)
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        theirs = oracle(*made(), kind)
        np.testing.assert_allclose([ours[f"{name}_{part}"] for part in NAMES], theirs, rtol=0, atol=1e-6)
        assert all(0.02 < value < 0.98 for value in theirs)  # a comparison of extremes would say nothing


def test_masks_are_sized_by_their_own_area():
    """As in detectron2; by its box an ellipse of radius 16 to 18 would be of medium size."""
    random = np.random.default_rng(0)
    one = ellipse(random, np.array([80, 80, 17, 17]))
    assert one["area"] < 32**2 < one["bbox"][2] * one["bbox"][3]
    image = {"image_id": 1, "category_id": 1, "segmentation": one["segmentation"]}
    truth = {
        "info": {},
        "images": [{"id": 1, "width": 200, "height": 160}],
        "categories": [{"id": 1, "name": "a"}],
    }
    truth["annotations"] = [{"id": 1, "bbox": one["bbox"], "area": one["area"], "iscrowd": 0, **image}]
    far = ellipse(random, np.array([150, 40, 17, 17]))
    wrong = image | {"segmentation": far["segmentation"], "bbox": far["bbox"], "score": 0.9}
    right = image | {"bbox": one["bbox"], "score": 0.5}
    metrics = evaluate(truth, [wrong, right], names=NAMES)
    assert metrics["mask_ap_small"] == 0.5  # the wrong one counts as small, and comes first
    assert metrics["mask_ap_medium"] is None


def test_boxes_alone_are_judged_without_masks():
    truth, found = made()
    for one in [*truth["annotations"], *found]:
        del one["segmentation"]
    ours = evaluate(truth, found, ["bbox"], NAMES)
    full = evaluate(*made(), ["bbox"], NAMES)
    assert ours == full
    assert list(ours) == [f"box_{name}" for name in NAMES]


def test_small_and_large_are_by_the_sides_given():
    """The same detections, with bounds at which every object is large: what was AP is AP of the large."""
    truth, found = made()
    small, usual = (evaluate(truth, found, ["bbox"], NAMES, sides) for sides in ((0.5, 1.0), (32.0, 96.0)))
    assert small["box_ap_large"] == small["box_ap"] == usual["box_ap"]
    assert small["box_ap_small"] is small["box_ap_medium"] is None
