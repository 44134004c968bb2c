"""mIoU beside scikit-learn's jaccard_score, and its interval beside a bootstrap of the images."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, jaccard_score

from winnow.evaluation.intersection import NAMES, VOID, Intersections, confusion
from winnow.evaluation.statistics import estimate


def random_masks(seed, images, classes, present):
    """Masks (8, 9) of the first `present` classes with a tenth void, and predictions that are half right."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, present, (images, 8, 9))
    found = np.where(draw.random(truth.shape) < 0.5, truth, draw.integers(0, classes, truth.shape))
    return np.where(draw.random(truth.shape) < 0.1, VOID, truth).astype(np.uint8), found.astype(np.uint8)


def counted(truth, found, classes):
    return Intersections.of([confusion(*pair, classes) for pair in zip(truth, found, strict=True)])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 7), st.data())
def test_scikit_learn_gives_the_same_numbers(seed, images, classes, data):
    """On the judged pixels, macro averages over the classes of the truth."""
    truth, found = random_masks(seed, images, classes, data.draw(st.integers(1, classes)))
    counts, kept = counted(truth, found, classes), truth != VOID
    flat = truth[kept], found[kept]
    whole = sum(confusion(*pair, classes) for pair in zip(truth, found, strict=True))
    np.testing.assert_array_equal(whole, confusion_matrix(*flat, labels=range(classes)))
    present = np.unique(flat[0])
    np.testing.assert_array_equal(counts.judged, present)
    assert set(counts.absent) == set(range(classes)) - set(present)
    ours, theirs = counts.metrics(), jaccard_score(*flat, labels=present, average="macro", zero_division=0)
    assert abs(ours["miou"] - theirs) <= 5e-7  # six places
    assert abs(ours["pixel_accuracy"] - (flat[0] == flat[1]).mean()) <= 5e-7
    recalls = whole.diagonal()[present] / whole.sum(axis=1)[present]
    assert abs(ours["mean_accuracy"] - recalls.mean()) <= 5e-7
    if set(np.unique(flat[1])) <= set(present):  # else scikit-learn warns
        assert abs(ours["mean_accuracy"] - balanced_accuracy_score(*flat)) <= 5e-7


def test_the_outcomes_of_images_have_the_number_as_their_mean():
    counts = counted(*random_masks(0, 30, 5, 4), 5)
    for name in NAMES:
        assert counts.outcomes()[name].mean() == pytest.approx(counts.metrics()[name], abs=5e-7)


def test_the_interval_is_that_of_a_bootstrap_of_images():
    """Images of uneven quality; the standard error of 2,000 resamples, within a tenth."""
    draw = np.random.default_rng(3)
    truth = draw.integers(0, 4, (120, 8, 8)).astype(np.uint8)
    right = draw.random((120, 1, 1)) > draw.random(truth.shape)
    found = np.where(right, truth, draw.integers(0, 4, truth.shape)).astype(np.uint8)
    counts = counted(truth, found, 4)
    samples = []
    for _ in range(2000):
        chosen = draw.integers(0, 120, 120)
        parts = [getattr(counts, name)[chosen] for name in ("hits", "truth", "predicted")]
        samples.append(Intersections(*parts).metrics()["miou"])
    found_here = estimate([counts.outcomes()["miou"][None]])
    assert found_here.half / 1.98 == pytest.approx(np.std(samples), rel=0.1)  # Student's t of 119, 95 %
    assert found_here.mean == pytest.approx(counts.metrics()["miou"], abs=5e-7)


def test_one_class_alone_is_judged_by_itself():
    """A mask of one class: what is predicted otherwise lowers its IoU, and adds no class of IoU 0."""
    truth = np.ones((1, 2, 4), np.uint8)
    counts = counted(truth, np.array([[[1, 1, 1, 1], [1, 1, 2, 2]]], np.uint8), 3)
    assert counts.metrics() == {"miou": 0.75, "mean_accuracy": 0.75, "pixel_accuracy": 0.75}
    assert counts.absent.tolist() == [0, 2]


def test_void_is_counted_nowhere_and_void_alone_is_refused():
    truth = np.array([[[0, VOID], [1, VOID]]], np.uint8)
    one, other = (counted(truth, np.array([[[0, a], [1, b]]]), 2) for a, b in ((0, 0), (1, 1)))
    assert one.metrics() == other.metrics() == dict.fromkeys(NAMES, 1.0)
    with pytest.raises(ValueError, match="no pixel of the test images has a class"):
        counted(np.full((1, 2, 2), VOID, np.uint8), np.zeros((1, 2, 2), np.uint8), 2)
