"""Linear classifiers against scikit-learn on real features, and the schedules against numpy."""

import math

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from winnow.evaluation.linear import FINAL_LR, Logistic, class_mean, logits, scheduled


@pytest.fixture(scope="module")
def digits_features():
    """scikit-learn's digits, standardised: 1000 to train on and 797 to test on. Some pixels never vary."""
    inputs, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    x, y = torch.tensor(inputs[order], dtype=torch.float32), torch.tensor(labels[order])
    x = (x - x[:1000].mean(dim=0)) / (x[:1000].std(dim=0) + 1e-6)
    return x[:1000], y[:1000], x[1000:], y[1000:]


@pytest.mark.parametrize("l2", [1e-2, 1e-3, 1e-4])
def test_the_optimum_is_scikit_learns(digits_features, l2):
    """scikit-learn minimises C * sum(loss) + |W|^2 / 2, ours mean(loss) + l2 |W|^2, so C = 1 / (2 l2 n)."""
    x, y, tx, ty = digits_features
    ours = logits(Logistic(x, y, 10).fit(l2, 100), tx)
    oracle = LogisticRegression(C=1 / (2 * l2 * len(x)), max_iter=5000, tol=1e-8)
    oracle.fit(x.double().numpy(), y.numpy())
    np.testing.assert_allclose(ours.softmax(dim=1), oracle.predict_proba(tx.numpy()), atol=0.02)
    top1 = float((ours.argmax(dim=1) == ty).float().mean())
    assert abs(top1 - oracle.score(tx.numpy(), ty.numpy())) <= 0.001, "0.1 point"


def test_a_class_without_a_label_and_a_feature_that_never_varies_change_no_other(digits_features):
    """By definition of the optimum: a constant feature is the bias twice, and gets no weight."""
    x, y, tx, _ = digits_features
    plain = logits(Logistic(x, y, 10).fit(1e-2, 100), tx).softmax(dim=1)
    wider = [torch.cat([part, torch.zeros(len(part), 3)], dim=1) for part in (x, tx)]
    same = logits(Logistic(wider[0], y, 11).fit(1e-2, 200), wider[1]).softmax(dim=1)
    assert float(same[:, 10].max()) < 0.05, "no image is of the class that nobody showed"
    torch.testing.assert_close(same[:, :10] / same[:, :10].sum(dim=1, keepdim=True), plain, atol=0.02, rtol=0)


@pytest.mark.parametrize("optimiser", ["sgd", "lars"])
def test_schedules_are_their_formulas(optimiser):
    """numpy, a batch of all: g = X'(p - y) / n + decay * w; LARS multiplies by 0.001 |w| / |g|, of weights
    alone; v = 0.9 v + g; w -= lr v, lr on a cosine from 0.5 * n / 256 to 1e-6 (Tan et al., 2210.02808).
    """
    draw = np.random.default_rng(1)
    x, y, decay, epochs = draw.normal(size=(40, 3)), draw.integers(0, 4, 40), 0.1, 6
    features, labels = torch.tensor(x, dtype=torch.float32), torch.tensor(y)
    start = scheduled(features, labels, 4, optimiser, 1e-12, 0.0, 1, 4096, seed=3).double().numpy()
    weight, bias = start[:-1].copy(), np.zeros(4)
    speed, bias_speed, peak = np.zeros_like(weight), np.zeros(4), 0.5 * 40 / 256
    for step in range(epochs):
        lr = FINAL_LR + (peak - FINAL_LR) * (1 + math.cos(math.pi * step / epochs)) / 2
        raised = np.exp(x @ weight + bias)
        error = (raised / raised.sum(axis=1, keepdims=True) - np.eye(4)[y]) / 40
        gradient = x.T @ error
        whole = gradient + decay * weight
        if optimiser == "lars":  # timm's norm in the denominator is |g| + decay |w|, as in arXiv 1708.03888
            norm = np.linalg.norm(weight)
            whole *= 0.001 * norm / (np.linalg.norm(gradient) + decay * norm)
        speed, bias_speed = 0.9 * speed + whole, 0.9 * bias_speed + error.sum(axis=0)
        weight, bias = weight - lr * speed, bias - lr * bias_speed
    ours = scheduled(features, labels, 4, optimiser, 0.5, decay, epochs, 4096, seed=3)
    np.testing.assert_allclose(ours, np.vstack([weight, bias]), atol=1e-5)


def test_a_schedule_in_small_batches_learns_and_repeats(digits_features):
    x, y, tx, ty = digits_features
    first, second = (scheduled(x, y, 10, "sgd", 0.1, 1e-4, 20, 256, seed=0) for _ in range(2))
    assert torch.equal(first, second)
    assert float((logits(first, tx).argmax(dim=1) == ty).float().mean()) > 0.9


def test_the_mean_of_classes_counts_small_ones_as_much():
    scores = torch.tensor([[2.0, 1.0, 0.0]] * 4 + [[0.0, 1.0, 2.0], [0.0, 2.0, 1.0]])
    labels = torch.tensor([0, 0, 0, 0, 2, 2])  # all four of class 0, one of two of class 2; class 1 is absent
    assert class_mean(scores, labels) == 0.75
