"""Scenes have exact boxes and masks. The oracle is the scene itself: each object has a hue of its own."""

import json

import numpy as np
import pytest
from faster_coco_eval import COCO, COCOeval_faster

from winnow.evaluation import scenes
from winnow.evaluation.average_precision import evaluate

# Which channels are lit; the background has three equal ones, so a hue's pixels are an object's visible ones.
HUES = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1)]
CLASSES = ["disc", "square", "bar"]


def shape(kind, size=28):
    """A grey-level image (size, size): a disc or a bar on black, or a square that fills the image."""
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    lit = {
        "disc": rows**2 + columns**2 < (0.45 * size) ** 2,
        "square": rows < size,
        "bar": abs(columns) < 0.2 * size,
    }
    return np.where(lit[kind], 200, 0).astype(np.uint8)


def compose(count=12, canvas=64, objects=(1, 4), seed=0):
    lit = [np.array(hue, np.uint8)[:, None, None] * shape(CLASSES[i % 3]) for i, hue in enumerate(HUES)]
    labels, uids = [i % 3 for i in range(6)], [f"{i:032x}" for i in range(6)]
    source = scenes.Source(np.stack(lit), labels, uids, CLASSES)
    return scenes.compose(source, count, canvas, objects, "test", seed)


def of_hue(image, hue):
    """bool (S, S): the pixels with exactly this hue lit, and more than the background's equal channels."""
    lit = np.array([image[c].astype(int) for c in range(3)])
    on, off = [c for c in range(3) if hue[c]], [c for c in range(3) if not hue[c]]
    return (lit[on] > 0).all(axis=0) & (lit[off] == 0).all(axis=0)


def test_masks_boxes_and_areas_are_those_of_the_pixels():
    made = compose(count=40)
    for number, image in enumerate(made.images, 1):
        annotations = {a["uid"]: a for a in made.coco["annotations"] if a["image_id"] == number}
        assert annotations
        for index, hue in enumerate(HUES):
            seen = of_hue(image, hue)
            annotation = annotations.get(f"{index:032x}")
            if annotation is None:
                assert not seen.any()
                continue
            assert np.array_equal(scenes.decode(annotation["segmentation"]), seen)
            ys, xs = np.nonzero(seen)
            width, height = xs.max() - xs.min() + 1, ys.max() - ys.min() + 1
            assert annotation["bbox"] == [xs.min(), ys.min(), width, height]
            assert annotation["area"] == seen.sum()
            assert annotation["category_id"] == index % 3 + 1
            assert annotation["iscrowd"] == 0


def test_no_two_masks_overlap():
    made = compose(count=40, objects=(4, 6))
    for target in made.targets():
        assert target["masks"].sum(dim=0).max() == 1


@pytest.mark.parametrize(("canvas", "objects"), [(64, (4, 4)), (34, (6, 6))])
def test_at_least_a_quarter_of_every_object_is_seen_or_it_is_left_out(canvas, objects, monkeypatch):
    whole, cutout = [], scenes.cutout

    def spy(image, pixels):
        pixels, mask = cutout(image, pixels)
        whole.append((HUES.index(tuple((image.max(axis=(1, 2)) > 0).astype(int))), mask.sum()))
        return pixels, mask

    monkeypatch.setattr(scenes, "cutout", spy)
    made = compose(count=10, canvas=canvas, objects=objects)
    seen = [{} for _ in range(10)]
    for a in made.coco["annotations"]:
        seen[a["image_id"] - 1][int(a["uid"], 16)] = a["area"]
    for order, (hue, size) in enumerate(whole):
        area = seen[order // objects[0]].get(hue)
        assert area is None or 0.25 * size <= area <= size
    left_out = len(whole) - len(made.coco["annotations"])
    assert left_out > 0 if canvas == 34 else left_out == 0  # six objects of 14 to 28 px do not fit on 34 px


def test_number_of_objects_spans_the_range():
    counts = np.bincount([a["image_id"] for a in compose(count=60).coco["annotations"]])[1:]
    assert set(counts) == {1, 2, 3, 4}


def test_sizes_span_half_to_all_of_the_image():
    squares = compose(count=200, objects=(1, 1)).coco["annotations"]
    sides = {a["bbox"][2] for a in squares if a["category_id"] == 2}
    assert sides == set(map(float, range(14, 29)))


def test_same_arguments_same_bytes_another_seed_another_set():
    one, two, other = compose(), compose(), compose(seed=1)
    assert one.images.tobytes() == two.images.tobytes()
    assert json.dumps(one.coco) == json.dumps(two.coco)
    assert one.images.tobytes() != other.images.tobytes()


def test_foreground_is_what_is_above_the_threshold_or_the_whole_square():
    dark = np.repeat(shape("disc")[None], 3, axis=0)
    pixels, mask = scenes.cutout(dark, 28)
    assert np.array_equal(pixels, dark)
    assert np.array_equal(mask, dark[0] == 200)
    assert scenes.cutout(dark + 17, 20)[1].all()


def test_an_image_without_foreground_is_left_out():
    source = scenes.Source(np.zeros((1, 3, 28, 28), np.uint8), [0], ["0" * 32], ["a"])
    made = scenes.compose(source, 2, 64, (1, 2), 0)
    assert made.coco["annotations"] == []
    assert made.targets()[0]["boxes"].shape == (0, 4)
    assert made.targets()[0]["masks"].shape == (0, 64, 64)


def test_targets_are_the_annotations_as_corners():
    made = compose(count=3)
    first = [a for a in made.coco["annotations"] if a["image_id"] == 1]
    target = made.targets()[0]
    assert target["boxes"].tolist() == [[x, y, x + w, y + h] for x, y, w, h in (a["bbox"] for a in first)]
    assert target["labels"].tolist() == [a["category_id"] for a in first]
    assert target["masks"].sum(dim=(1, 2)).tolist() == [a["area"] for a in first]


def guesses(made, seed=0):
    """Predictions near the truth: shifted by some pixels, a fifth of another class, two for some objects."""
    random, found = np.random.default_rng(seed), []
    for a in [a for a in made.coco["annotations"] for _ in range(int(random.integers(0, 3)))]:
        down, right = (int(v) for v in random.integers(-3, 4, 2))
        mask = np.roll(scenes.decode(a["segmentation"]), (down, right), (0, 1))
        wrong = random.random() < 0.2
        x, y, width, height = a["bbox"]
        category = a["category_id"] % 3 + 1 if wrong else a["category_id"]
        box, score = [x + right, y + down, width, height], float(random.random())
        guess = {"bbox": box, "segmentation": scenes.encode(mask), "score": score}
        found.append({"image_id": a["image_id"], "category_id": category, **guess})
    return found


def test_the_two_evaluators_agree(tmp_path):
    pycocotools = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    made = compose(count=40)
    found = guesses(made)
    (tmp_path / "coco.json").write_text(json.dumps(made.coco))
    theirs, ours = pycocotools.COCO(str(tmp_path / "coco.json")), COCO(str(tmp_path / "coco.json"))
    metrics = evaluate(made.coco, found)
    for kind, name in (("bbox", "box"), ("segm", "mask")):
        oracle = COCOeval(theirs, theirs.loadRes(found), kind)
        fast = COCOeval_faster(ours, ours.loadRes(found), kind)
        oracle.evaluate(), oracle.accumulate(), oracle.summarize()
        fast.run()
        np.testing.assert_allclose(np.array(fast.stats)[:12], oracle.stats, rtol=0, atol=1e-9)
        assert 0.05 < oracle.stats[0] < 0.95  # a comparison of zeros would say nothing
        wanted = [round(float(value), 6) for value in oracle.stats[:3]]
        assert [metrics[f"{name}_{part}"] for part in ("ap", "ap50", "ap75")] == wanted
